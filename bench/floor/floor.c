/* The floor: the least that a correct native call can do, with the signatures of pytracingx, to measure ours against.

   What "correct" asks of a span: an object that the garbage collector tracks (with its context token it can form a cycle),
   taken from a freelist; ids drawn or inherited from the current span; a tick counter read at both ends; the context
   variable set, and reset by its token, through the C API; one 64-byte record at the end and one per attribute, written to
   memory that is not already in the first-level cache. What it leaves out: everything that makes it useful. The name and
   the keys are kept as addresses, nothing reads the records, nothing checks that there is room.

   records() counts what was written, so that a benchmark can tell that it measured what it meant to. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { SLOTS = 4096, FREELIST = 64 };

typedef struct {
    uint64_t word[8];
} Record;

typedef struct {
    PyObject_HEAD
    uint64_t trace_high, trace_low, id, parent, start;
    PyObject *token, *name;
} Span;

static Record ring[SLOTS] __attribute__((aligned(64)));
static uint64_t written;
static uint64_t random_state = 0x9E3779B97F4A7C15u;
static PyObject *current; /* the context variable */
static Span *freelist[FREELIST];
static int free_spans;
static PyTypeObject SpanType;

static inline Record *reserve(void) { return &ring[written++ % SLOTS]; }

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
static inline int put_attribute(PyObject *key, PyObject *value)
{
    Record *record = reserve();
    record->word[0] = (uint64_t)(uintptr_t)key;
    if (PyUnicode_Check(value)) {
        Py_ssize_t length;
        const char *text = PyUnicode_AsUTF8AndSize(value, &length);
        if (!text)
            return -1;
        record->word[1] = (uint64_t)length;
        memcpy(&record->word[2], text, length > 48 ? 48 : (size_t)length);
    } else if (PyFloat_Check(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        memcpy(&record->word[1], &number, sizeof number);
    } else {
        long long number = PyLong_AsLongLong(value);
        if (number == -1 && PyErr_Occurred())
            return -1;
        record->word[1] = (uint64_t)number;
    }
    return 0;
}

static inline int put_attributes(PyObject *attributes)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(attributes, &position, &key, &value))
        if (put_attribute(key, value) < 0)
            return -1;
    return 0;
}

/* The optional argument at `index`, positional or as the only keyword; NULL when not given. */
static inline PyObject *optional(PyObject *const *arguments, Py_ssize_t count, PyObject *keywords, Py_ssize_t index)
{
    if (count > index)
        return arguments[index];
    return keywords && PyTuple_GET_SIZE(keywords) ? arguments[count] : NULL;
}

static PyObject *span(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    Span *self;
    if (free_spans) {
        self = freelist[--free_spans];
        Py_SET_REFCNT((PyObject *)self, 1);
    } else if (!(self = PyObject_GC_New(Span, &SpanType)))
        return NULL;
    self->token = self->name = NULL;
    self->id = draw();

    PyObject *parent = NULL;
    if (PyContextVar_Get(current, NULL, &parent) < 0)
        goto fail;
    if (parent && Py_TYPE(parent) == &SpanType) {
        Span *above = (Span *)parent;
        self->trace_high = above->trace_high;
        self->trace_low = above->trace_low;
        self->parent = above->id;
    } else {
        self->trace_high = draw();
        self->trace_low = draw();
        self->parent = 0;
    }
    Py_XDECREF(parent);

    PyObject *attributes = optional(arguments, count, keywords, 1);
    if (attributes && PyDict_Check(attributes) && put_attributes(attributes) < 0)
        goto fail;
    self->name = arguments[0];
    Py_INCREF(self->name);
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

static PyObject *span_enter(PyObject *self, PyObject *unused)
{
    Py_INCREF(self);
    return self;
}

static PyObject *span_exit(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Span *self = (Span *)object;
    Record *record = reserve();
    record->word[0] = self->trace_high;
    record->word[1] = self->trace_low;
    record->word[2] = self->id;
    record->word[3] = self->parent;
    record->word[4] = self->start;
    record->word[5] = ticks();
    record->word[6] = (uint64_t)(uintptr_t)self->name;
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
    if (put_attribute(arguments[0], arguments[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int span_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Span *)object)->token);
    Py_VISIT(((Span *)object)->name);
    return 0;
}

static int span_clear(PyObject *object)
{
    Py_CLEAR(((Span *)object)->token);
    Py_CLEAR(((Span *)object)->name);
    return 0;
}

static void span_dealloc(PyObject *object)
{
    Span *self = (Span *)object;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->token);
    Py_XDECREF(self->name);
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

/* record_span(name, start_time, end_time, attributes=None) */
static PyObject *record_span(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    long long start = PyLong_AsLongLong(arguments[1]), end = PyLong_AsLongLong(arguments[2]);
    if ((start == -1 || end == -1) && PyErr_Occurred())
        return NULL;
    PyObject *attributes = optional(arguments, count, keywords, 3);
    if (attributes && put_attributes(attributes) < 0)
        return NULL;
    Record *record = reserve();
    record->word[0] = draw();
    record->word[1] = draw();
    record->word[2] = draw();
    record->word[3] = (uint64_t)(uintptr_t)arguments[0];
    record->word[4] = (uint64_t)start;
    record->word[5] = (uint64_t)end;
    Py_RETURN_NONE;
}

/* A measurement: what it is of, its value, the time where that matters. */
static inline PyObject *measure(PyObject *const *arguments, Py_ssize_t count, PyObject *keywords, uint64_t time)
{
    Record *record = reserve();
    record->word[0] = 7;
    record->word[2] = time;
    if (PyFloat_CheckExact(arguments[0])) {
        double number = PyFloat_AS_DOUBLE(arguments[0]);
        memcpy(&record->word[1], &number, sizeof number);
    } else {
        long long number = PyLong_AsLongLong(arguments[0]);
        if (number == -1 && PyErr_Occurred())
            return NULL;
        record->word[1] = (uint64_t)number;
    }
    PyObject *attributes = optional(arguments, count, keywords, 1);
    if (attributes && put_attributes(attributes) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* add(value, attributes=None) and record(value, attributes=None), of counters, histograms and their bound handles */
static PyObject *add(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return measure(arguments, count, keywords, 0);
}

/* set(value, attributes=None), of a gauge: the last one counts */
static PyObject *set(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return measure(arguments, count, keywords, ticks());
}

/* info(message, *, attributes=None) */
static PyObject *info(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(arguments[0], &length);
    PyObject *parent = NULL;
    if (!text || PyContextVar_Get(current, NULL, &parent) < 0)
        return NULL;
    Record *record = reserve();
    if (parent && Py_TYPE(parent) == &SpanType) {
        record->word[0] = ((Span *)parent)->trace_high;
        record->word[1] = ((Span *)parent)->trace_low;
        record->word[2] = ((Span *)parent)->id;
    }
    Py_XDECREF(parent);
    record->word[3] = ticks();
    record->word[4] = (uint64_t)length;
    memcpy(&record->word[5], text, length > 24 ? 24 : (size_t)length);
    PyObject *attributes = optional(arguments, count, keywords, 1);
    if (attributes && put_attributes(attributes) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* empty(value): the cheapest call there is */
static PyObject *empty(PyObject *self, PyObject *const *arguments, Py_ssize_t count) { Py_RETURN_NONE; }

/* Instrument and logger in one: methods, because a method's look-up costs something too. */
static PyMethodDef recorder_methods[] = {
    {"add", (PyCFunction)(void *)add, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"record", (PyCFunction)(void *)add, METH_FASTCALL | METH_KEYWORDS, NULL},
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
    {"record_span", (PyCFunction)(void *)record_span, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"records", records, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void)
{
    if (PyType_Ready(&SpanType) < 0)
        return NULL;
    current = PyContextVar_New("floor", Py_None);
    PyObject *module = current ? PyModule_Create(&definition) : NULL;
    if (module && PyModule_AddType(module, &RecorderType) < 0)
        Py_CLEAR(module);
    return module;
}
