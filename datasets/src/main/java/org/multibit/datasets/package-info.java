/**
 * Text for language models: Penn Treebank, WikiText-2, Text8 and any folder with training,
 * validation and test text.
 *
 * <p>Follow the data: a {@link org.multibit.datasets.TextSource} gives the bytes of its three
 * splits; reading them makes a {@link org.multibit.datasets.Vocabulary} from the training split and
 * turns each split into token ids, which a {@link org.multibit.datasets.TextCorpus} holds; a {@link
 * org.multibit.datasets.TokenIterator} cuts them into mini-batches {@code [batch, 1, time]} for
 * DL4J. A {@link org.multibit.datasets.KneserNeyNoise} makes other training texts of one. {@link
 * org.multibit.datasets.Corpora} finds a corpus by its name on the command line.
 *
 * <p>And images as sequences for classifiers: {@link org.multibit.datasets.MnistSequences}.
 */
package org.multibit.datasets;
