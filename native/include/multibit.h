/* Packed multi-bit models: opens a model from a file or from memory and runs it. docs/format.md describes the file.
 *
 * A language model is fed tokens; its logits are for the next word. A classifier is fed vectors of floats; its logits
 * are for the class of the sequence so far. A call that is for the other kind returns MULTIBIT_ERROR_ARGUMENT.
 *
 * Functions that can fail return MULTIBIT_OK or an error code. After an error, multibit_last_error() says what was
 * wrong, where, and what to do; each thread has its own message. Nothing here prints, aborts or throws, whatever the
 * file or the arguments.
 *
 * Any number of threads may share a model. A session belongs to one stream of tokens, a batch to several streams that
 * are fed together; only one thread at a time may use a given session or batch. A session or batch allocates all that a
 * step and its logits need when it is made. Only the threads of multibit_model_set_threads start later, in the first
 * step that needs them.
 *
 * If a step, evaluate or generate fails with another error than MULTIBIT_ERROR_ARGUMENT, the state is that of some step
 * in between: reset it. Results are the same in every run on one instruction-set tier; tiers differ in the last bits.
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
/* A null pointer, a token outside the vocabulary, a float that is not finite, an invalid size, or a call for the other
 * kind of model. */
#define MULTIBIT_ERROR_ARGUMENT 1
/* The file cannot be opened, read or mapped. */
#define MULTIBIT_ERROR_IO 2
/* The file is not a multibit model, is damaged, or holds values that overflow while it runs. */
#define MULTIBIT_ERROR_FORMAT 3
/* Out of memory. */
#define MULTIBIT_ERROR_MEMORY 4
/* MULTIBIT_ISA names a tier that is unknown or that this processor lacks. */
#define MULTIBIT_ERROR_ISA 5

typedef struct multibit_model multibit_model;
typedef struct multibit_session multibit_session;
typedef struct multibit_batch multibit_batch;

typedef struct multibit_model_info {
  int32_t vocabulary_size; /* language model; 0 for a classifier */
  int32_t embedding_size;  /* language model; 0 for a classifier */
  int32_t hidden_size;
  int32_t layers;
  int32_t eos_token;     /* language model; -1 for a classifier */
  int32_t unknown_token; /* -1: none */
  int32_t embedding_bits;
  int32_t weight_bits;     /* of the recurrent product of layer 0; 0: full precision */
  int32_t activation_bits; /* of the recurrent product of layer 0; 0: full precision */
  int64_t file_bytes;
  const char* cell;   /* "lstm" or "gru" */
  const char* head;   /* "language-model" or "classifier" */
  int32_t input_size; /* classifier: floats per step; 0 for a language model */
  int32_t classes;    /* classifier; 0 for a language model */
} multibit_model_info;

/* The message of the last error in this thread, or "" if there was none. Valid until the next call in this thread. */
const char* multibit_last_error(void);

/* The library's version, for example "0.1.0". */
const char* multibit_version(void);

/* The instruction-set tier in use, for example "avx512-vpopcntdq". */
int multibit_isa(const char** name);

/* Maps the file and checks all of it. On an error *model is NULL; the same holds for *session and *batch below. Do not
 * change the file while the model is open. If it is overwritten in place, results change; if it is shortened, a read of
 * the missing part ends the process with SIGBUS. Renaming another file to its name does no harm. */
int multibit_model_open(const char* path, multibit_model** model);
/* Opens a model whose file is already in memory, for example where there is no file system. Nothing is copied: the
 * caller keeps the `size` bytes alive and unchanged until the model is closed. The bytes must start at a multiple of 64
 * (aligned_alloc(64, ...)); otherwise the result is MULTIBIT_ERROR_ARGUMENT. Messages use `name` as the file's name. */
int multibit_model_open_memory(const void* data, size_t size, const char* name, multibit_model** model);
/* Frees the model; NULL is allowed. Free its sessions and batches first. */
void multibit_model_close(multibit_model* model);
/* Sets how many threads (1..256, initially 1) share a product that is large enough to gain. The threads belong to the
 * model and start when they are first needed. They are never more than the cores that the caller of this function may
 * run on. A session that finds them busy computes on its own thread. Results do not depend on the number of threads.
 * May be called at any time; waits for a product in progress.
 *
 * A child process made by fork lacks these threads, so it must neither use nor close a model that has more than one.
 * Set them to 1 before the fork, or open the model in the child. */
int multibit_model_set_threads(multibit_model* model, int32_t threads);
/* Fills in *info. Its strings are valid until the model is closed. */
int multibit_model_describe(const multibit_model* model, multibit_model_info* info);
/* The word of a token: UTF-8, not terminated, owned by the model. */
int multibit_model_word(const multibit_model* model, int32_t token, const char** word, size_t* length);
/* The token of a word, or -1 if the vocabulary lacks it. */
int multibit_model_token(const multibit_model* model, const char* word, size_t length, int32_t* token);
/* The value of a metadata key as text (numbers in decimal, arrays as their length), owned by the model, or NULL if
 * there is no such key. */
int multibit_model_metadata(const multibit_model* model, const char* key, const char** value);

/* Makes a session with zero state. */
int multibit_session_new(const multibit_model* model, multibit_session** session);
void multibit_session_free(multibit_session* session);
/* Sets the state back to zero. */
int multibit_session_reset(multibit_session* session);
/* Feeds one token. The logits are not computed until a call asks for them. */
int multibit_session_step(multibit_session* session, int32_t token);
/* Feeds a classifier one or more steps of input_size floats each, one after the other; `count` is their total number of
 * floats. If a float is not finite, nothing is fed. The state continues from call to call: reset it before another
 * sequence. */
int multibit_session_step_floats(multibit_session* session, const float* inputs, size_t count);
/* The logits after the last step: vocabulary_size floats, or `classes` floats for a classifier. They are owned by the
 * session and valid until its next call. */
int multibit_session_logits(multibit_session* session, const float** logits);
/* Writes the same logits to the caller's array. If no call has asked for them before, they are computed in that array.
 */
int multibit_session_write_logits(multibit_session* session, float* logits);
/* Feeds `first`, then each token except the last. Each token of the array is a target. Adds the natural-log losses of
 * all targets to *total_loss (float64). With first = eos on a new session this is the perplexity protocol. */
int multibit_session_evaluate(multibit_session* session, int32_t first, const int32_t* tokens, size_t count,
                              double* total_loss);
/* Samples `count` tokens and feeds each one. temperature 0 takes the most likely token; top_k 0 samples from all. The
 * same seed and history give the same tokens on one instruction-set tier. Another tier differs in the last bits, so it
 * may draw another token. The session must have been stepped at least once. */
int multibit_session_generate(multibit_session* session, float temperature, int32_t top_k, uint64_t seed,
                              int32_t* tokens, size_t count);

/* Stands for a token: the stream takes no part in this step and keeps its state. */
#define MULTIBIT_IDLE (-1)

/* Makes a batch of `streams` (1..4096) streams of tokens that are fed together. Each starts with zero state. A step
 * reads the weights once, so it costs less than a step of each stream by itself. The results of a stream are, bit for
 * bit, those of a session that is fed the same tokens. A server can give each client a stream: reset the stream when a
 * client comes, and feed it MULTIBIT_IDLE while the client sends nothing. */
int multibit_batch_new(const multibit_model* model, int32_t streams, multibit_batch** batch);
void multibit_batch_free(multibit_batch* batch);
/* Set the state of one stream (0 to streams - 1), or of all streams, back to zero. */
int multibit_batch_reset(multibit_batch* batch, int32_t stream);
int multibit_batch_reset_all(multibit_batch* batch);
/* Feeds one token per stream. If one of them is not in the vocabulary, nothing is fed. After any other error, reset the
 * streams that the step should have fed. */
int multibit_batch_step(multibit_batch* batch, const int32_t* tokens);
/* The logits after the last step, row-major [streams, vocabulary_size]. Valid rows are those of the streams that the
 * step fed and that were not reset since; the contents of other rows are unspecified. It is an error if no row is
 * valid. The logits are owned by the batch and valid until its next call. */
int multibit_batch_logits(multibit_batch* batch, const float** logits);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* MULTIBIT_H */
