/* Many inferences in one process: what accuracy over a whole data set needs. */
#ifndef TESLA_BATCH_H
#define TESLA_BATCH_H

/* `fw batch DP COUNT [--layers]`: selects region DP, then COUNT times reads one input from stdin
 * and writes its output to stdout. With --layers the output is preceded by that of every layer,
 * in order of execution, each as u32 size (little endian) and the bytes. Returns the exit status:
 * 0 done, 1 the model refused or stdin ended early, 2 usage; a message goes to stderr. */
int tesla_batch(int argc, char **argv);

#endif /* TESLA_BATCH_H */
