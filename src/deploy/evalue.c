/* SPDX-License-Identifier: Apache-2.0 */
#include "evalue.h"

#include <math.h>

/* What the bets are worth at the start, and how large they are where the aim doesn't say: in 1 / sigma. */
static const double share[TARN_EVALUE_BETS] = {0.5, 0.25, 0.25};
static const double size[TARN_EVALUE_BETS] = {0.5, 0.25, 0.75};

void tarn_evalue_init(struct tarn_evalue *e)
{
    *e = (struct tarn_evalue){0};
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

void tarn_evalue_add(struct tarn_evalue *e, double x, double aim)
{
    double sigma = e->count > 0 ? sqrt(e->squares / e->count) : 0;
    e->squares += x * x;
    /* the first block that isn't all zeros begins the count of those that tell the scale */
    if (e->squares > 0)
        e->count++;
    if (e->count <= TARN_EVALUE_WARM || !(sigma > 0))
        return;
    for (int k = 0; k < TARN_EVALUE_BETS; k++) {
        double bet = size[k];
        if (k == 0 && aim / sigma < bet) /* aim / sigma^2 grows fastest if the mean is the aim */
            bet = aim / sigma;
        double u = clamp(bet / sigma * x, -1, 1);
        e->wealth[k] += u - u * u / 2;
    }
}

double tarn_evalue_log(const struct tarn_evalue *e)
{
    double most = e->wealth[0], sum = 0;
    for (int k = 1; k < TARN_EVALUE_BETS; k++)
        most = e->wealth[k] > most ? e->wealth[k] : most;
    for (int k = 0; k < TARN_EVALUE_BETS; k++)
        sum += share[k] * exp(e->wealth[k] - most);
    return most + log(sum);
}
