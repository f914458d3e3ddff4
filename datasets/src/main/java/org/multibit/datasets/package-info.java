/**
 * Text for language models: Penn Treebank, WikiText-2, Text8 and any folder with training,
 * validation and test text.
 *
 * <p>A {@link org.multibit.datasets.TextSource} gives the bytes of its three splits. A {@link
 * org.multibit.datasets.TextCorpus} reads them: it makes a {@link org.multibit.datasets.Vocabulary}
 * from the training split and holds the token ids of each split. A {@link
 * org.multibit.datasets.TokenIterator} cuts them into mini-batches {@code [batch, 1, time]} for
 * DL4J. {@link org.multibit.datasets.KneserNeyNoise} makes noisy variants of a training text.
 * {@link org.multibit.datasets.Corpora} finds a corpus by its name on the command line.
 *
 * <p>{@link org.multibit.datasets.MnistSequences} has images as sequences for classifiers.
 */
package org.multibit.datasets;
