package org.multibit.benchmarks;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.mkl.global.mkl_rt;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.multibit.core.format.LanguageModelFile;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Float products of a BLAS: a matrix with one vector (sgemv) or with a batch of them (sgemm). The
 * matrix is row-major or column-major, so that whichever suits the library better can be counted.
 */
abstract class BlasProducts implements BenchmarkedSystem {
  /** CBLAS's numbers. */
  private static final int ROW_MAJOR = 101;

  private static final int COLUMN_MAJOR = 102;
  private static final int NO_TRANSPOSE = 111;
  private static final int TRANSPOSE = 112;

  /** The matrix in use; the storage order is only a way of reading it. */
  private FloatBuffer matrix = FloatBuffer.allocate(0);

  abstract void gemv(
      int order, int rows, int cols, FloatPointer a, int lda, FloatPointer x, FloatPointer y);

  /** y[batch, rows] = x[batch, cols] a^T, all row-major but a, which may be transposed. */
  abstract void gemm(
      int transposeA,
      int batch,
      int rows,
      int cols,
      FloatPointer x,
      FloatPointer a,
      int lda,
      FloatPointer y);

  /** Settings: rows, cols, batch, columnMajor. */
  @Override
  public Task prepare(JsonNode settings) {
    int rows = settings.get("rows").asInt();
    int cols = settings.get("cols").asInt();
    int batch = settings.get("batch").asInt();
    boolean columnMajor = settings.get("columnMajor").asBoolean();
    if (matrix.capacity() != rows * cols) {
      matrix = Floats.normal(rows * cols, 1, 1);
    }
    FloatBuffer weights = matrix;
    FloatBuffer vectors = Floats.hiddenStates(batch * cols, 2);
    FloatBuffer products = LanguageModelFile.directFloats(batch * rows);
    FloatPointer a = new FloatPointer(weights);
    FloatPointer x = new FloatPointer(vectors);
    FloatPointer y = new FloatPointer(products);
    int lda = columnMajor ? rows : cols;
    return () -> {
      if (batch == 1) {
        gemv(columnMajor ? COLUMN_MAJOR : ROW_MAJOR, rows, cols, a, lda, x, y);
      } else {
        gemm(columnMajor ? NO_TRANSPOSE : TRANSPOSE, batch, rows, cols, x, a, lda, y);
      }
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(vectors);
      Reference.reachabilityFence(products);
    };
  }

  /** OpenBLAS, one thread. */
  static final class OpenBlas extends BlasProducts {
    OpenBlas() {
      openblas_nolapack.blas_set_num_threads(1);
    }

    /** Which kernels run is known by OPENBLAS_VERBOSE=2, on standard error. */
    @Override
    public Map<String, String> describe() {
      Map<String, String> description = new LinkedHashMap<>();
      description.put("library", openblas_nolapack.OPENBLAS_VERSION.strip());
      description.put("threads", "" + openblas_nolapack.blas_get_num_threads());
      return description;
    }

    @Override
    void gemv(
        int order, int rows, int cols, FloatPointer a, int lda, FloatPointer x, FloatPointer y) {
      openblas_nolapack.cblas_sgemv(order, NO_TRANSPOSE, rows, cols, 1, a, lda, x, 1, 0, y, 1);
    }

    @Override
    void gemm(
        int transposeA,
        int batch,
        int rows,
        int cols,
        FloatPointer x,
        FloatPointer a,
        int lda,
        FloatPointer y) {
      openblas_nolapack.cblas_sgemm(
          ROW_MAJOR, NO_TRANSPOSE, transposeA, batch, rows, cols, 1, x, cols, a, lda, 0, y, rows);
    }
  }

  /** Intel's MKL, one thread. */
  static final class Mkl extends BlasProducts {
    /** Whether MKL is on the class path for this platform. */
    static boolean isAvailable() {
      return Mkl.class.getResource(
              "/org/bytedeco/mkl/%s/libmkl_core.so.2".formatted(Loader.getPlatform()))
          != null;
    }

    Mkl() {
      mkl_rt.MKL_Set_Num_Threads(1);
    }

    @Override
    public Map<String, String> describe() {
      Map<String, String> description = new LinkedHashMap<>();
      try (mkl_rt.MKLVersion version = new mkl_rt.MKLVersion()) {
        mkl_rt.MKL_Get_Version(version);
        description.put(
            "library",
            "MKL %d.%d.%d"
                .formatted(
                    version.MajorVersion(), version.MinorVersion(), version.UpdateVersion()));
        description.put("kernels", version.Processor().getString());
      }
      description.put("threads", "" + mkl_rt.MKL_Get_Max_Threads());
      return description;
    }

    @Override
    void gemv(
        int order, int rows, int cols, FloatPointer a, int lda, FloatPointer x, FloatPointer y) {
      mkl_rt.cblas_sgemv(order, NO_TRANSPOSE, rows, cols, 1, a, lda, x, 1, 0, y, 1);
    }

    @Override
    void gemm(
        int transposeA,
        int batch,
        int rows,
        int cols,
        FloatPointer x,
        FloatPointer a,
        int lda,
        FloatPointer y) {
      mkl_rt.cblas_sgemm(
          ROW_MAJOR, NO_TRANSPOSE, transposeA, batch, rows, cols, 1, x, cols, a, lda, 0, y, rows);
    }
  }
}
