package api

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// observer measures, traces and logs requests by the template of their route, never by what is in their path.
type observer struct {
	log      *slog.Logger
	tracer   trace.Tracer
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	now      func() time.Time
	timing   bool
}

func newObserver(o Options) *observer {
	ob := &observer{log: o.Log, tracer: o.Tracer, now: o.Now, timing: o.ServerTiming}
	if ob.tracer == nil {
		ob.tracer = noop.NewTracerProvider().Tracer("")
	}
	ob.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "matrixon_http_request_seconds",
		Help:    "Time to answer requests by route, method and class of the status.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
	}, []string{"route", "method", "status"})
	ob.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "matrixon_http_requests_in_flight", Help: "Requests that are being answered, long polls included.",
	})
	if o.Metrics != nil {
		o.Metrics.MustRegister(ob.duration, ob.inFlight)
	}
	return ob
}

// observation is what is learnt about one request while it runs.
type observation struct {
	http.ResponseWriter
	status   int
	bytes    int64
	template string
	user     string
	span     trace.Span
	method   string
	elapsed  func() time.Duration // nil: the client is not told
	hijacked bool
}

type observationKey struct{}

func observed(r *http.Request) *observation {
	return r.Context().Value(observationKey{}).(*observation)
}

// route names the request.
func (o *observation) route(template string) {
	o.template = template
	o.span.SetName(o.method + " " + template)
}

func (o *observation) WriteHeader(status int) {
	if o.hijacked { // the compression writes an empty answer when nobody else has written any
		return
	}
	if o.status == 0 {
		o.status = status
		o.tellTime()
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observation) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
		o.tellTime()
	}
	n, err := o.ResponseWriter.Write(p)
	o.bytes += int64(n)
	return n, err
}

// tellTime writes how long it took until the answer began, in milliseconds (W3C, Server Timing).
func (o *observation) tellTime() {
	if o.elapsed != nil {
		o.Header().Set("Server-Timing", "total;dur="+strconv.FormatFloat(o.elapsed().Seconds()*1000, 'f', 3, 64))
	}
}

// Flush lets streams push what they have.
func (o *observation) Flush() { _ = http.NewResponseController(o.ResponseWriter).Flush() }

// Hijack lets a WebSocket take the connection over.
func (o *observation) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(o.ResponseWriter).Hijack()
	o.hijacked = o.hijacked || err == nil
	return conn, buffered, err
}

// Unwrap is for http.ResponseController.
func (o *observation) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// path is the request's path as it may be logged: a delay_id lets whoever knows it change a delayed event (MSC4140), and a
// registration token make an account.
func (o *observation) path(r *http.Request) string {
	if strings.Contains(o.template, "{delayId}") || strings.Contains(o.template, "{token}") {
		return o.template
	}
	return r.URL.EscapedPath()
}

func (ob *observer) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	begun := ob.now()
	ob.inFlight.Inc()
	o := &observation{ResponseWriter: w, template: "unknown", method: knownMethod(r.Method)}
	if ob.timing {
		o.elapsed = func() time.Duration { return ob.now().Sub(begun) }
	}
	ctx, span := ob.tracer.Start(r.Context(), o.method, trace.WithSpanKind(trace.SpanKindServer))
	o.span = span
	defer func() {
		ob.inFlight.Dec()
		took := ob.now().Sub(begun)
		ob.duration.WithLabelValues(o.template, o.method, strconv.Itoa(o.status/100)+"xx").Observe(took.Seconds())
		span.SetAttributes(attribute.String("http.route", o.template), attribute.Int("http.response.status_code", o.status))
		if o.status >= 500 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
		ob.log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("method", o.method), slog.String("path", o.path(r)),
			slog.Int("status", o.status), slog.Duration("took", took), slog.Int64("bytes", o.bytes), slog.String("user", o.user))
	}()
	next.ServeHTTP(o, r.WithContext(context.WithValue(ctx, observationKey{}, o)))
}

// knownMethod keeps strangers from making up names of metrics.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return m
	}
	return "other"
}
