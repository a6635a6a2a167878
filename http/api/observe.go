package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
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
}

func newObserver(o Options) *observer {
	ob := &observer{log: o.Log, tracer: o.Tracer, now: o.Now}
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
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observation) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	n, err := o.ResponseWriter.Write(p)
	o.bytes += int64(n)
	return n, err
}

// Flush lets streams push what they have.
func (o *observation) Flush() { _ = http.NewResponseController(o.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (o *observation) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (ob *observer) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	begun := ob.now()
	ob.inFlight.Inc()
	o := &observation{ResponseWriter: w, template: "unknown", method: knownMethod(r.Method)}
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
		ob.log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("method", o.method), slog.String("path", r.URL.EscapedPath()),
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
