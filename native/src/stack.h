#ifndef STANDIN_STACK_H
#define STANDIN_STACK_H

/* Needs as much stack as the real library may: a caller with less ends here. @returns what must not be optimised away */
unsigned stack_use(void);

#endif
