/* SPDX-License-Identifier: Apache-2.0 */
/* The network's shape, as specialisation constants in the order of tarn_shape_defines(). */
layout(constant_id = 0) const int TARN_INPUTS = 28;
layout(constant_id = 1) const int TARN_HIDDEN1 = 32;
layout(constant_id = 2) const int TARN_HIDDEN2 = 32;
layout(constant_id = 3) const int TARN_OUTPUTS = 11;

/* Where a layer's weights begin, and how many there are. */
const int W2 = TARN_HIDDEN1 * (TARN_INPUTS + 1);
const int W3 = W2 + TARN_HIDDEN2 * (TARN_HIDDEN1 + 1);
const int WEIGHTS = W3 + TARN_OUTPUTS * (TARN_HIDDEN2 + 1);
