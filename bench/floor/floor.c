/* The floor: the least that a correct native call can do, with the signatures of pytracingx, to measure ours against.

   What "correct" asks of every call: to look whether recording is on; to look at a keyword's name; to convert what it is
   given, whatever its length, reading small ints, times and ASCII texts where they lie; to turn names and keys into numbers
   by a table keyed by address that owns its objects (a reader that never takes the interpreter's lock cannot follow an
   address, and an address alone can come to mean another text); to see that there is room, to write to memory that is not
   already in the first-level cache, and to publish with one release store.

   A span: an object that the garbage collector tracks (with its context token it can form a cycle), taken from a freelist;
   ids drawn or inherited from the current span, the sampling decision too; a tick counter read at both ends; the context
   variable set, and reset by its token, through the C API; a look at the exception that leaves `with`; one 64-byte record at
   the end and one per attribute, with the span's id. record_span: two times, the current span as parent, a context object
   with the ids for its caller. A measurement: a value that the instrument allows; of a histogram the current span as well,
   for exemplars. A log record: a threshold, the text, the tick, the current span.

   What it leaves out: attributes set twice (its reader would see both), limits on their number, lists and other values, spans
   that end out of order or on another thread, sessions, forks, threads without the interpreter's lock, and collections that
   CPython 3.10 and 3.11 may start in the midst of setting a context variable. Nothing reads the records: a full ring counts
   as read.

   records() counts what was written, so that a benchmark can tell that it measured what it meant to. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { SLOTS = 4096, NAMES = 1024, FREELIST = 64, INFO = 9 };

typedef struct {
    uint64_t word[8];
} Record;

typedef struct {
    PyObject_HEAD
    uint64_t trace_high, trace_low, id, parent, start;
    PyObject *token;
    uint32_t name;
    int sampled;
} Span;

/* What record_span() gives its caller. */
typedef struct {
    PyObject_HEAD
    uint64_t trace_high, trace_low, id;
} Context;

static Record ring[SLOTS] __attribute__((aligned(64)));
static uint64_t written;
static _Atomic uint64_t published, drained;
static struct {
    PyObject *object;
    uint32_t id;
} names[NAMES];
static uint32_t next_name = 1;
static volatile int recording = 1, threshold = INFO;
static uint64_t random_state = 0x9E3779B97F4A7C15u;
static PyObject *current; /* the context variable */
static PyObject *attributes_name;
static Span *freelist[FREELIST];
static Context *free_contexts[FREELIST];
static int free_spans, free_context_count;
static PyTypeObject SpanType, ContextType;

static inline Record *reserve(void)
{
    if (written - atomic_load_explicit(&drained, memory_order_acquire) >= SLOTS)
        atomic_store_explicit(&drained, written, memory_order_release); /* as if somebody had read them all */
    return &ring[written++ % SLOTS];
}

static inline void publish(void) { atomic_store_explicit(&published, written, memory_order_release); }

static uint32_t __attribute__((noinline)) new_name(PyObject *text, size_t slot)
{
    Py_INCREF(text);
    Py_XSETREF(names[slot].object, text);
    return names[slot].id = next_name++;
}

/* The number of a name or key. */
static inline uint32_t number(PyObject *text)
{
    size_t slot = ((uintptr_t)text >> 4) * 0x9E3779B97F4A7C15u >> 54;
    return names[slot].object == text ? names[slot].id : new_name(text, slot);
}

/* 0, or -1 with an exception set. */
static inline int integer(PyObject *object, long long *value)
{
    if (PyLong_CheckExact(object)) {
#if PY_VERSION_HEX >= 0x030C0000
        uintptr_t tag = ((PyLongObject *)object)->long_value.lv_tag;
        digit *digits = ((PyLongObject *)object)->long_value.ob_digit;
        Py_ssize_t size = (Py_ssize_t)(tag >> 3) * (1 - (Py_ssize_t)(tag & 3));
#else
        Py_ssize_t size = Py_SIZE(object);
        digit *digits = ((PyLongObject *)object)->ob_digit;
#endif
        if (size == 1 || size == 0) {
            *value = size ? digits[0] : 0;
            return 0;
        }
        if (size == 3 && digits[2] < 8) {
            *value = digits[0] | (long long)digits[1] << PyLong_SHIFT | (long long)digits[2] << 2 * PyLong_SHIFT;
            return 0;
        }
    }
    *value = PyLong_AsLongLong(object);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

/* NULL with an exception set. */
static inline const char *utf8(PyObject *text, Py_ssize_t *length)
{
    if (PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text)) {
        *length = PyUnicode_GET_LENGTH(text);
        return (const char *)PyUnicode_1BYTE_DATA(text);
    }
    return PyUnicode_AsUTF8AndSize(text, length);
}

/* Of any length: what does not fit the record goes on in the next ones. */
static inline void put_text(Record *record, int word, const char *text, Py_ssize_t length)
{
    Py_ssize_t room = (8 - word) * 8;
    memcpy(&record->word[word], text, length > room ? room : length);
    for (Py_ssize_t at = room; at < length; at += sizeof(Record))
        memcpy(reserve(), text + at, length - at > (Py_ssize_t)sizeof(Record) ? (Py_ssize_t)sizeof(Record) : length - at);
}

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
#endif
}

static inline uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* 0, or -1 with an exception set. */
static inline int put_attribute(PyObject *key, PyObject *value, uint64_t span)
{
    Record *record = reserve();
    record->word[0] = number(key);
    record->word[1] = span;
    if (PyUnicode_CheckExact(value)) {
        Py_ssize_t length;
        const char *text = utf8(value, &length);
        if (!text)
            return -1;
        record->word[2] = (uint64_t)length;
        put_text(record, 3, text, length);
    } else if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        memcpy(&record->word[2], &number, sizeof number);
    } else {
        long long number;
        if (integer(value, &number) < 0)
            return -1;
        record->word[2] = (uint64_t)number;
    }
    return 0;
}

static inline int put_attributes(PyObject *attributes, uint64_t span)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyDict_CheckExact(attributes))
        return 0;
    while (PyDict_Next(attributes, &position, &key, &value))
        if (value != Py_None && put_attribute(key, value, span) < 0)
            return -1;
    return 0;
}

/* Finds the optional argument at `index`, by position or as the only keyword. NULL when it is not given or None; -1 with an
   exception set for another keyword. */
static inline int optional(PyObject *const *arguments, Py_ssize_t count, PyObject *keywords, Py_ssize_t index,
                           PyObject *name, PyObject **found)
{
    PyObject *argument = NULL;
    if (count > index)
        argument = arguments[index];
    else if (keywords) {
        if (PyTuple_GET_SIZE(keywords) != 1 || PyTuple_GET_ITEM(keywords, 0) != name) {
            PyErr_SetString(PyExc_TypeError, "unexpected keyword argument");
            return -1;
        }
        argument = arguments[count];
    }
    *found = argument == Py_None ? NULL : argument;
    return 0;
}

static inline PyObject *start(PyObject *const *arguments, Py_ssize_t count, PyObject *keywords, int sampler)
{
    PyObject *attributes, *parent = NULL;
    if (!recording)
        Py_RETURN_NONE;
    if (optional(arguments, count, keywords, 1, attributes_name, &attributes) < 0)
        return NULL;
    Span *self;
    if (free_spans) {
        self = freelist[--free_spans];
        Py_SET_REFCNT((PyObject *)self, 1);
    } else if (!(self = PyObject_GC_New(Span, &SpanType)))
        return NULL;
    self->token = NULL;
    self->id = draw();

    if (PyContextVar_Get(current, NULL, &parent) < 0)
        goto fail;
    if (parent && Py_TYPE(parent) == &SpanType) {
        Span *above = (Span *)parent;
        self->trace_high = above->trace_high;
        self->trace_low = above->trace_low;
        self->parent = above->id;
        self->sampled = above->sampled;
    } else {
        self->trace_high = draw();
        self->trace_low = draw();
        self->parent = 0;
        self->sampled = sampler;
    }
    Py_XDECREF(parent);

    self->name = number(arguments[0]);
    if (self->sampled && attributes && put_attributes(attributes, self->id) < 0)
        goto fail;
    self->start = ticks();
    PyObject_GC_Track(self);
    self->token = PyContextVar_Set(current, (PyObject *)self);
    if (self->token)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
fail:
    PyObject_GC_Track(self); /* the deallocator untracks */
    Py_DECREF(self);
    return NULL;
}

static PyObject *span(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return start(arguments, count, keywords, 1);
}

/* A span that is sampled out: everything but its records. */
static PyObject *unsampled_span(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return start(arguments, count, keywords, 0);
}

static PyObject *span_enter(PyObject *self, PyObject *unused)
{
    Py_INCREF(self);
    return self;
}

static PyObject *span_exit(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Span *self = (Span *)object;
    if (self->sampled) {
        Record *record = reserve();
        record->word[0] = self->trace_high;
        record->word[1] = self->trace_low;
        record->word[2] = self->id;
        record->word[3] = self->parent;
        record->word[4] = self->start;
        record->word[5] = ticks();
        record->word[6] = self->name;
        record->word[7] = count > 1 && arguments[1] != Py_None;
        publish();
    }
    if (self->token) {
        int failed = PyContextVar_Reset(current, self->token);
        Py_CLEAR(self->token);
        if (failed)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *span_set_attribute(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (((Span *)self)->sampled && put_attribute(arguments[0], arguments[1], ((Span *)self)->id) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int span_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Span *)object)->token);
    return 0;
}

static int span_clear(PyObject *object)
{
    Py_CLEAR(((Span *)object)->token);
    return 0;
}

static void span_dealloc(PyObject *object)
{
    Span *self = (Span *)object;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->token);
    if (free_spans < FREELIST)
        freelist[free_spans++] = self;
    else
        PyObject_GC_Del(self);
}

static PyMethodDef span_methods[] = {
    {"__enter__", span_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void *)span_exit, METH_FASTCALL, NULL},
    {"set_attribute", (PyCFunction)(void *)span_set_attribute, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject SpanType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.Span",
    .tp_basicsize = sizeof(Span),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = span_dealloc,
    .tp_traverse = span_traverse,
    .tp_clear = span_clear,
    .tp_methods = span_methods,
};

static void context_dealloc(PyObject *object)
{
    if (free_context_count < FREELIST)
        free_contexts[free_context_count++] = (Context *)object;
    else
        PyObject_Free(object);
}

static PyTypeObject ContextType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.Context",
    .tp_basicsize = sizeof(Context),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = context_dealloc,
};

/* record_span(name, start_time, end_time, attributes=None) -> Context */
static PyObject *record_span(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    PyObject *attributes, *parent = NULL;
    long long start, end;
    if (!recording)
        Py_RETURN_NONE;
    if (integer(arguments[1], &start) < 0 || integer(arguments[2], &end) < 0)
        return NULL;
    if (optional(arguments, count, keywords, 3, attributes_name, &attributes) < 0)
        return NULL;
    Context *context;
    if (free_context_count) {
        context = free_contexts[--free_context_count];
        Py_SET_REFCNT((PyObject *)context, 1);
    } else if (!(context = PyObject_New(Context, &ContextType)))
        return NULL;
    context->id = draw();
    uint64_t above = 0;
    if (PyContextVar_Get(current, NULL, &parent) < 0)
        goto fail;
    if (parent && Py_TYPE(parent) == &SpanType) {
        context->trace_high = ((Span *)parent)->trace_high;
        context->trace_low = ((Span *)parent)->trace_low;
        above = ((Span *)parent)->id;
    } else {
        context->trace_high = draw();
        context->trace_low = draw();
    }
    Py_XDECREF(parent);
    if (attributes && put_attributes(attributes, context->id) < 0)
        goto fail;
    Record *record = reserve();
    record->word[0] = context->trace_high;
    record->word[1] = context->trace_low;
    record->word[2] = context->id;
    record->word[3] = above;
    record->word[4] = (uint64_t)start;
    record->word[5] = (uint64_t)(end < start ? start : end);
    record->word[6] = number(arguments[0]);
    record->word[7] = 0;
    publish();
    return (PyObject *)context;
fail:
    Py_DECREF(context);
    return NULL;
}

/* The ids of the current span, if there is one. -1 with an exception set. */
static inline int put_current(Record *record)
{
    PyObject *parent = NULL;
    if (PyContextVar_Get(current, NULL, &parent) < 0)
        return -1;
    if (parent && Py_TYPE(parent) == &SpanType) {
        record->word[5] = ((Span *)parent)->trace_high;
        record->word[6] = ((Span *)parent)->trace_low;
        record->word[7] = ((Span *)parent)->id;
    } else
        record->word[7] = 0;
    Py_XDECREF(parent);
    return 0;
}

/* A measurement: what it is of, its value, the time where that matters, the current span where it may be an exemplar. */
static inline PyObject *measure(PyObject *const *arguments, Py_ssize_t count, PyObject *keywords, int is_gauge,
                                int has_exemplars)
{
    PyObject *attributes;
    if (!recording)
        Py_RETURN_NONE;
    if (optional(arguments, count, keywords, 1, attributes_name, &attributes) < 0)
        return NULL;
    uint64_t value;
    if (PyFloat_CheckExact(arguments[0])) {
        double number = PyFloat_AS_DOUBLE(arguments[0]);
        if (!is_gauge && !(number >= 0 && number <= DBL_MAX))
            Py_RETURN_NONE;
        memcpy(&value, &number, sizeof number);
    } else {
        long long number;
        if (integer(arguments[0], &number) < 0)
            return NULL;
        if (!is_gauge && number < 0)
            Py_RETURN_NONE;
        value = (uint64_t)number;
    }
    Record *record = reserve();
    record->word[0] = 7;
    record->word[1] = value;
    record->word[2] = is_gauge ? ticks() : 0;
    if (has_exemplars && put_current(record) < 0)
        return NULL;
    if (attributes && put_attributes(attributes, 0) < 0)
        return NULL;
    publish();
    Py_RETURN_NONE;
}

/* add(value, attributes=None), of counters and their bound handles */
static PyObject *add(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return measure(arguments, count, keywords, 0, 0);
}

/* record(value, attributes=None), of histograms */
static PyObject *record(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return measure(arguments, count, keywords, 0, 1);
}

/* set(value, attributes=None), of a gauge: the last one counts */
static PyObject *set(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return measure(arguments, count, keywords, 1, 0);
}

/* info(message, *, attributes=None) */
static PyObject *info(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    Py_ssize_t length;
    PyObject *attributes;
    if (!recording || threshold > INFO)
        Py_RETURN_NONE;
    if (optional(arguments, count, keywords, 1, attributes_name, &attributes) < 0)
        return NULL;
    const char *text = utf8(arguments[0], &length);
    if (!text)
        return NULL;
    Record *record = reserve();
    record->word[0] = INFO;
    record->word[3] = ticks();
    record->word[4] = (uint64_t)length;
    if (put_current(record) < 0)
        return NULL;
    put_text(reserve(), 0, text, length);
    if (attributes && put_attributes(attributes, 0) < 0)
        return NULL;
    publish();
    Py_RETURN_NONE;
}

/* empty(value): the cheapest call there is */
static PyObject *empty(PyObject *self, PyObject *const *arguments, Py_ssize_t count) { Py_RETURN_NONE; }

/* Instrument and logger in one: methods, because a method's look-up costs something too. */
static PyMethodDef recorder_methods[] = {
    {"add", (PyCFunction)(void *)add, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"record", (PyCFunction)(void *)record, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"set", (PyCFunction)(void *)set, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"info", (PyCFunction)(void *)info, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"empty", (PyCFunction)(void *)empty, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject RecorderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.Recorder",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_methods = recorder_methods,
};

static PyObject *records(PyObject *module, PyObject *unused) { return PyLong_FromUnsignedLongLong(written); }

static PyMethodDef methods[] = {
    {"span", (PyCFunction)(void *)span, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"unsampled_span", (PyCFunction)(void *)unsampled_span, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"record_span", (PyCFunction)(void *)record_span, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"records", records, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void)
{
    attributes_name = PyUnicode_InternFromString("attributes");
    if (PyType_Ready(&SpanType) < 0 || PyType_Ready(&ContextType) < 0 || !attributes_name)
        return NULL;
    current = PyContextVar_New("floor", Py_None);
    PyObject *module = current ? PyModule_Create(&definition) : NULL;
    if (module && PyModule_AddType(module, &RecorderType) < 0)
        Py_CLEAR(module);
    return module;
}
