// A recording of four images, two classes and two epochs, written by hand.

const shares = (...values) => Uint8Array.from(values, (value) => Math.round(255 * value));

/** One run; `change` overwrites parts of the recording. */
export function tiny(change = {}) {
  const epoch = (number, corrected, prediction, rest) => ({
    run: 0,
    epoch: number,
    phase: "main",
    n_neighbors: 0,
    settings: {},
    metrics: { test_accuracy: 0.5 + number / 4, memorized: 0.5 },
    mixture: { means: [0.1, 0.8], stds: [0.05, 0.05], weights: [0.5, 0.5] },
    outcomes: { clean: 2, corrected: number, missed: 2 - number, harmed: 0, changed: 0 },
    box: [0, 0, 1],
    k: 0,
    ...rest,
    arrays: {
      corrected: Uint8Array.from(corrected),
      prediction: Uint8Array.from(prediction),
      scaled_loss: shares(0, 0.1, 0.8, 1),
      clean: shares(1, 0.9, 0.1, 0),
      confidence: shares(1, 1, 0.9, 0.8),
      soft_weight: shares(1, 1, 0.6, 0.7),
      loss: Uint8Array.from([0, 10, 200, 255]),
      map: Uint16Array.from([0, 0, 4094, 0, 0, 4094, 4094, 4094]),
      ...rest?.arrays,
    },
  });
  return {
    dataset: { name: "tiny", n: 4, n_test: 4, classes: ["cat", "dog"] },
    n: 4,
    truthKnown: true,
    ids: null,
    images: null,
    sheet: null,
    lossRange: [1e-4, 100],
    samples: Uint32Array.from([10, 11, 12, 13]),
    given: [Uint8Array.from([0, 1, 1, 0])],
    truth: Uint8Array.from([0, 1, 0, 1]),
    runs: [
      {
        name: "run",
        title: "MixNN",
        method: "mixnn",
        settings: { correction: "ema" },
        epochs_planned: 2,
        first_epoch: 0,
        map: "PCA",
        seeds: [],
        quantiles: [],
        state: "done",
        epochs: [
          epoch(0, [0, 1, 1, 0], [0, 1, 0, 0]),
          epoch(1, [0, 1, 0, 0], [0, 1, 0, 0], {
            n_neighbors: 2,
            k: 2,
            arrays: {
              neighbors: Uint16Array.from([1, 2, 0, 2, 0, 3, 65535, 2]),
              weights: shares(1, 0, 0, 0.5, 0.5, 0, 0, 1, 0, 0.2, 0.3, 0.5),
            },
          }),
        ],
      },
    ],
    ...change,
  };
}
