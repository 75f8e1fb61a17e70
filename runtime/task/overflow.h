/* Saying which task ran out of stack, instead of dying without a word. */
#ifndef FILCH_TASK_OVERFLOW_H
#define FILCH_TASK_OVERFLOW_H

#include <stdbool.h>

/* Takes SIGSEGV and SIGBUS, for the first runtime of the process. Never fails: without a handler an
 * overflow still ends the process. */
void filch__overflow_begin(void);

/* Gives the signals back after the last runtime, unless somebody else has taken them since. */
void filch__overflow_end(void);

/* In the child of a fork: no runtime of the parent's is left. */
void filch__overflow_forked(void);

/* A stack for the handler. NULL: no memory, then nothing is said. */
struct filch__overflow_stack;
struct filch__overflow_stack *filch__overflow_stack_new(void);
void filch__overflow_stack_free(struct filch__overflow_stack *stack);

/* The calling thread becomes a worker: its signals come on @stack, unless it has a stack for them
 * already. Return: was it taken into use? Then it must be left. */
bool filch__overflow_enter_thread(struct filch__overflow_stack *stack);
void filch__overflow_leave_thread(void);

#endif
