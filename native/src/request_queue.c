#include "request_queue.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "log.h"
#include "stats.h"

/* The rule `parallel` allows no more. */
#define THREADS_MAX 64

typedef struct Queued {
    Request request;
    VixDiskLibCompletionCB *done;
    void *data;
    struct Queued *next;
} Queued;

struct RequestQueue {
    pthread_mutex_t lock;
    /* Something was queued, or the queue closes. */
    pthread_cond_t work;
    /* A request is served. */
    pthread_cond_t served;
    Queued *first;
    Queued **last;
    unsigned parallel;
    unsigned running;
    unsigned waiting;
    /* Requests whose callbacks have not begun, and how many there were at once. */
    unsigned inside;
    unsigned most;
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
    bool is_closing;
};

/* The queue whose callback this thread is in. */
static __thread const RequestQueue *serving;

VixError request_serve(const Request *request) {
    if (request->latency_us > 0) {
        struct timespec pause = {request->latency_us / 1000000, (long)(request->latency_us % 1000000) * 1000};
        while (nanosleep(&pause, &pause) != 0) continue;
    }
    if (request->is_panic) log_panic("PANIC: the rule panic_%s ends the process at sector %llu",
                                     request->is_write ? "write" : "read", (unsigned long long)request->start);
    if (request->fault != VIX_OK) return request->fault;
    if (!request->is_write) return disk_chain_read(request->disk, request->start, request->count, request->buffer);
    VixError error = disk_chain_write(request->disk, request->start, request->count, request->buffer);
    if (error == VIX_OK) {
        stats_event("write %" PRIu64 " %" PRIu64 " %" PRIu64, request->handle_id, request->start, request->count);
    }
    return error;
}

static void *serve_all(void *argument) {
    RequestQueue *queue = argument;
    serving = queue;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        if (queue->first == NULL || queue->running >= queue->parallel) {
            if (queue->is_closing && queue->first == NULL) break;
            queue->waiting++;
            pthread_cond_wait(&queue->work, &queue->lock);
            queue->waiting--;
            continue;
        }
        Queued *queued = queue->first;
        queue->first = queued->next;
        if (queue->first == NULL) queue->last = &queue->first;
        queue->running++;
        pthread_mutex_unlock(&queue->lock);
        VixError result = request_serve(&queued->request);
        /* Not after the callback: whoever hears of it may queue the next one at once. */
        pthread_mutex_lock(&queue->lock);
        queue->inside--;
        pthread_mutex_unlock(&queue->lock);
        queued->done(queued->data, result);
        free(queued);
        pthread_mutex_lock(&queue->lock);
        queue->running--;
        pthread_cond_broadcast(&queue->served);
        if (queue->first != NULL) pthread_cond_signal(&queue->work);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

RequestQueue *request_queue_open(void) {
    RequestQueue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) return NULL;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->work, NULL);
    pthread_cond_init(&queue->served, NULL);
    queue->last = &queue->first;
    return queue;
}

VixError request_queue_add(RequestQueue *queue, const Request *request, unsigned parallel, VixDiskLibCompletionCB *done,
                           void *data) {
    Queued *queued = malloc(sizeof *queued);
    if (queued == NULL) return VIX_E_OUT_OF_MEMORY;
    *queued = (Queued){.request = *request, .done = done, .data = data};
    VixError error = VIX_OK;
    pthread_mutex_lock(&queue->lock);
    queue->parallel = parallel < THREADS_MAX ? parallel : THREADS_MAX;
    if (queue->waiting == 0 && queue->thread_count < queue->parallel) {
        if (pthread_create(&queue->threads[queue->thread_count], NULL, serve_all, queue) == 0) {
            queue->thread_count++;
        } else if (queue->thread_count == 0) {
            error = VIX_E_OUT_OF_MEMORY;
        }
    }
    if (error == VIX_OK) {
        *queue->last = queued;
        queue->last = &queued->next;
        queue->inside++;
        if (queue->inside > queue->most) queue->most = queue->inside;
        pthread_cond_signal(&queue->work);
    }
    pthread_mutex_unlock(&queue->lock);
    if (error != VIX_OK) free(queued);
    return error;
}

VixError request_queue_wait(RequestQueue *queue) {
    if (serving == queue) return VIX_E_FAIL;
    pthread_mutex_lock(&queue->lock);
    while (queue->first != NULL || queue->running > 0) pthread_cond_wait(&queue->served, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
    return VIX_OK;
}

bool request_queue_is_busy(RequestQueue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool is_busy = queue->first != NULL || queue->running > 0;
    pthread_mutex_unlock(&queue->lock);
    return is_busy;
}

unsigned request_queue_most(RequestQueue *queue) {
    pthread_mutex_lock(&queue->lock);
    unsigned most = queue->most;
    pthread_mutex_unlock(&queue->lock);
    return most;
}

void request_queue_close(RequestQueue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->is_closing = true;
    pthread_cond_broadcast(&queue->work);
    pthread_mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->thread_count; i++) pthread_join(queue->threads[i], NULL);
    pthread_cond_destroy(&queue->work);
    pthread_cond_destroy(&queue->served);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
