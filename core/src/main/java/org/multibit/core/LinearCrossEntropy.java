package org.multibit.core;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * What {@link Kernels#fusedLinearCrossEntropy} reads and writes besides a softmax output layer's
 * weights: a batch of B rows ({@code labels.remaining()}) with n activations each, R classes.
 *
 * @param bias [R]
 * @param labels the right class of each row, within 0..R-1
 * @param lossWeights [B]: the gradients are those of {@code sum_b lossWeights[b] losses[b]}
 * @param x the values of the activations, 0 where they are dropped, [B, n]
 * @param scratch {@link Kernels#crossEntropyScratch} floats; overwritten
 * @param losses receives -ln softmax(logits)[label] of each row
 * @param weightGradient receives [R, n]
 * @param biasGradient receives [R]; null = it is not wanted
 * @param inputGradient receives the gradient for activations that are all retained, [B, n]
 */
public record LinearCrossEntropy(
    int classes,
    int cols,
    FloatBuffer bias,
    IntBuffer labels,
    FloatBuffer lossWeights,
    FloatBuffer x,
    FloatBuffer scratch,
    FloatBuffer losses,
    FloatBuffer weightGradient,
    FloatBuffer biasGradient,
    FloatBuffer inputGradient) {}
