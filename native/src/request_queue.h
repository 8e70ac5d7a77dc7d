#ifndef STANDIN_REQUEST_QUEUE_H
#define STANDIN_REQUEST_QUEUE_H

#include <stdbool.h>

#include "disk_chain.h"
#include "vixDiskLib.h"

/* One read or write, with everything that serving it needs. */
typedef struct {
    DiskChain *disk;
    /* For the stats. */
    uint64 handle_id;
    bool is_write;
    uint64 start;
    uint64 count;
    uint8 *buffer;
    /* How long the "server" takes. */
    unsigned latency_us;
    /* The fault that a rule wants: a code instead of the data, or the end of the process. */
    VixError fault;
    bool is_panic;
} Request;

/* Does what a request asks for, in the calling thread. */
VixError request_serve(const Request *request);

/* The queued requests of one handle and the threads that serve them. */
typedef struct RequestQueue RequestQueue;

RequestQueue *request_queue_open(void);

/* Queues a request; `done` is called in a thread of the queue. At most `parallel` are served at once. */
VixError request_queue_add(RequestQueue *queue, const Request *request, unsigned parallel, VixDiskLibCompletionCB *done,
                           void *data);

/* Returns when all requests are served and their callbacks have returned. VIX_E_FAIL in such a callback. */
VixError request_queue_wait(RequestQueue *queue);

/* Whether requests are queued or being served. */
bool request_queue_is_busy(RequestQueue *queue);

/* How many requests there were at once. */
unsigned request_queue_most(RequestQueue *queue);

/* Waits, ends the threads and frees the queue. */
void request_queue_close(RequestQueue *queue);

#endif
