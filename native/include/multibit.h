/* Packed multi-bit models: open a file, or one that is in memory, and run it. See docs/format.md for the file. A
 * language model is fed tokens, and its logits are of the words that may come next; a classifier is fed vectors of
 * floats, and its logits are of the classes that the sequence so far may belong to. What is of the other kind is
 * MULTIBIT_ERROR_ARGUMENT.
 *
 * Every function returns MULTIBIT_OK or an error code; multibit_last_error() then says what was wrong, where, and what
 * to do (per thread). Nothing here prints, aborts or throws, whatever the file or the arguments. A model may be shared
 * by any number of threads. A session belongs to one stream, a batch to several that are fed together; each
 * is used by one thread at a time. Nothing that a step or its logits need is allocated after the session or batch is
 * made, but for the threads of multibit_model_set_threads, which the first step that needs them starts.
 *
 * After an error of a step, of evaluate or of generate other than MULTIBIT_ERROR_ARGUMENT, the state is that of some
 * step on the way: reset it. Results are the same in every run on one instruction-set tier; tiers differ in the last
 * bits.
 */
#ifndef MULTIBIT_H
#define MULTIBIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define MULTIBIT_OK 0
#define MULTIBIT_ERROR_ARGUMENT \
  1 /* a null pointer, a token outside the vocabulary, a size that cannot be, a call for the other kind of model */
#define MULTIBIT_ERROR_IO 2     /* the file cannot be opened, read or mapped */
#define MULTIBIT_ERROR_FORMAT 3 /* not a multibit model, or a damaged one */
#define MULTIBIT_ERROR_MEMORY 4 /* out of memory */
#define MULTIBIT_ERROR_ISA 5    /* MULTIBIT_ISA names a tier that is unknown or not supported here */

typedef struct multibit_model multibit_model;
typedef struct multibit_session multibit_session;
typedef struct multibit_batch multibit_batch;

typedef struct multibit_model_info {
  int32_t vocabulary_size; /* of a language model, like the next; a classifier's is 0 */
  int32_t embedding_size;
  int32_t hidden_size;
  int32_t layers;
  int32_t eos_token;     /* of a language model; a classifier's is -1 */
  int32_t unknown_token; /* -1: none */
  int32_t embedding_bits;
  int32_t weight_bits;     /* of the recurrent product of layer 0; 0: full precision */
  int32_t activation_bits; /* of the recurrent product of layer 0; 0: full precision */
  int64_t file_bytes;
  const char* cell;   /* "lstm" or "gru" */
  const char* head;   /* "language-model" or "classifier" */
  int32_t input_size; /* of a classifier: floats of a step; a language model's is 0, like the next */
  int32_t classes;    /* of a classifier */
} multibit_model_info;

/* The message of the last error in this thread; "" if there was none. Valid until the next call in this thread. */
const char* multibit_last_error(void);

/* The library's version, for example "0.1.0". */
const char* multibit_version(void);

/* The instruction-set tier in use, for example "avx512-vpopcntdq". */
int multibit_isa(const char** name);

/* Maps the file and checks all of it. On an error *model is NULL; so are *session and *batch below. The file must stay
 * as it is while the model is open: overwritten in place it gives other results, and reading where it was cut is a
 * SIGBUS of the process. Renaming another one to its name does no harm. */
int multibit_model_open(const char* path, multibit_model** model);
/* The same for a file that is in memory already: where there is no file system, or in a program's own data. The caller
 * keeps the `size` bytes alive and unchanged until the model is closed; nothing is copied. They start at a multiple of
 * 64 (aligned_alloc(64, ...)), or it is MULTIBIT_ERROR_ARGUMENT. The name stands for the file in messages. */
int multibit_model_open_memory(const void* data, size_t size, const char* name, multibit_model** model);
/* Frees the model; NULL is allowed. Close its sessions first. */
void multibit_model_close(multibit_model* model);
/* How many threads (1..256, at first 1) work together on a product that is large enough to gain. They belong to the
 * model and start when first needed; there are never more than cores that the caller of this function may run on. A
 * session that finds them busy computes alone. Results do not depend on them. May be called at any time; waits for a
 * product that is under way.
 *
 * A child process that fork made lacks these threads: it must neither use nor close a model that has more than one. Set
 * them to 1 before the fork, or open the model in the child. */
int multibit_model_set_threads(multibit_model* model, int32_t threads);
int multibit_model_describe(const multibit_model* model, multibit_model_info* info);
/* The word of a token: UTF-8, not terminated, owned by the model. */
int multibit_model_word(const multibit_model* model, int32_t token, const char** word, size_t* length);
/* The token of a word; -1 if the vocabulary lacks it. */
int multibit_model_token(const multibit_model* model, const char* word, size_t length, int32_t* token);
/* The value of a metadata key as text (numbers in decimal, arrays as their length), owned by the model; NULL if absent.
 */
int multibit_model_metadata(const multibit_model* model, const char* key, const char** value);

/* A session starts with zero state. */
int multibit_session_new(const multibit_model* model, multibit_session** session);
void multibit_session_free(multibit_session* session);
/* Back to zero state. */
int multibit_session_reset(multibit_session* session);
/* Feeds one token. The logits are computed when asked for. */
int multibit_session_step(multibit_session* session, int32_t token);
/* Feeds a classifier `count` floats, a multiple of its input_size: that many steps, one after the other. If one of them
 * is not finite, none is fed. The state goes on from call to call: reset it before another sequence. */
int multibit_session_step_floats(multibit_session* session, const float* inputs, size_t count);
/* The logits after the last step: vocabulary_size floats, or those of the classes; owned by the session, valid until
 * its next call. */
int multibit_session_logits(multibit_session* session, const float** logits);
/* The same, written to as many floats of the caller's: computed there, where they were not asked for before. */
int multibit_session_write_logits(multibit_session* session, float* logits);
/* Feeds `first`, then each token but the last; each token of the array is a target. Adds the natural-log loss of all
 * targets to *total_loss (float64). With first = eos on a fresh session this is the perplexity protocol. */
int multibit_session_evaluate(multibit_session* session, int32_t first, const int32_t* tokens, size_t count,
                              double* total_loss);
/* Samples one token after another and feeds it. temperature 0 takes the likeliest; top_k 0 means all. The same seed and
 * history give the same tokens on one instruction-set tier; on another tier, whose last bits differ, a draw may fall on
 * another token. The session must have been stepped at least once. */
int multibit_session_generate(multibit_session* session, float temperature, int32_t top_k, uint64_t seed,
                              int32_t* tokens, size_t count);

/* In place of a token: the stream takes no part in this step and stays as it is. */
#define MULTIBIT_IDLE (-1)

/* Streams of tokens (1..4096) that are fed together, each with zero state at first. A step reads the weights once, so
 * it costs less than a step of each; every stream's results are, bit for bit, those of a session of its own. A server
 * gives each client a stream: reset it when a client comes, feed it MULTIBIT_IDLE while it has nothing to say. */
int multibit_batch_new(const multibit_model* model, int32_t streams, multibit_batch** batch);
void multibit_batch_free(multibit_batch* batch);
/* One stream (0 to streams - 1), or all, back to zero state. */
int multibit_batch_reset(multibit_batch* batch, int32_t stream);
int multibit_batch_reset_all(multibit_batch* batch);
/* Feeds one token per stream. If one of them is not in the vocabulary, none is fed. After any other error, reset the
 * streams that it was to feed. */
int multibit_batch_step(multibit_batch* batch, const int32_t* tokens);
/* The logits after the last step, row-major [streams, vocabulary_size]: the rows of the streams that it fed and that
 * were not reset since; the other rows hold nothing of use. An error if there is none. Owned by the batch, valid until
 * its next call. */
int multibit_batch_logits(multibit_batch* batch, const float** logits);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* MULTIBIT_H */
