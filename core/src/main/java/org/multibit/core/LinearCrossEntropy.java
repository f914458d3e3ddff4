package org.multibit.core;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * What {@link Kernels#fusedLinearCrossEntropy} reads and writes in addition to the weights of a
 * softmax output layer with R classes, for a batch of B rows ({@code labels.remaining()}) with n
 * activations each.
 *
 * @param bias [R]
 * @param labels the right class of each row, within 0..R-1
 * @param lossWeights [B]: the gradients are those of {@code sum_b lossWeights[b] losses[b]}
 * @param x [B, n], the values of the activations, 0 where they are dropped
 * @param scratch {@link Kernels#crossEntropyScratch} floats; overwritten
 * @param losses receives -ln softmax(logits)[label] of each row
 * @param weightGradient receives [R, n]
 * @param biasGradient receives [R]; null = not wanted
 * @param inputGradient receives [B, n], the gradient as if no activation were dropped
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
