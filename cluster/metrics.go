package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted by kind, never by id: their number does not grow with the actors.
type metrics struct {
	activations *prometheus.CounterVec
	endings     *prometheus.CounterVec
	panics      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	retries     *prometheus.CounterVec
	handling    *prometheus.HistogramVec
	asking      *prometheus.HistogramVec
	active      *prometheus.Desc
	countActive func() map[string]int
}

// kindMetrics are those of one kind, looked up once.
type kindMetrics struct {
	activations, panics, refused, dropped, retries prometheus.Counter
	handling, asking                               prometheus.Observer
	endings                                        map[string]prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "matrixon", Subsystem: "actor", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, first float64, buckets int) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "matrixon", Subsystem: "actor", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(first, 4, buckets),
		}, []string{"kind"})
	}
	return &metrics{
		activations: counter("activations_total", "Activations begun.", "kind"),
		endings:     counter("endings_total", "Activations ended, by reason.", "kind", "reason"),
		panics:      counter("panics_total", "Panics caught in actors.", "kind"),
		refused:     counter("refused_total", "Requests and messages refused because too many waited in the actor.", "kind"),
		dropped:     counter("dropped_total", "Messages without a waiting sender that were dropped.", "kind"),
		retries:     counter("retries_total", "Further attempts of requests.", "kind"),
		handling:    histogram("handling_seconds", "Time that actors spent on one message.", 1e-6, 10),
		asking:      histogram("asking_seconds", "Time from a request to its answer.", 1e-5, 12),
		active:      prometheus.NewDesc("matrixon_actor_active", "Actors in memory.", []string{"kind"}, nil),
	}
}

func (m *metrics) of(kind string) kindMetrics {
	k := kindMetrics{
		activations: m.activations.WithLabelValues(kind),
		panics:      m.panics.WithLabelValues(kind),
		refused:     m.refused.WithLabelValues(kind),
		dropped:     m.dropped.WithLabelValues(kind),
		retries:     m.retries.WithLabelValues(kind),
		handling:    m.handling.WithLabelValues(kind),
		asking:      m.asking.WithLabelValues(kind),
		endings:     map[string]prometheus.Counter{},
	}
	for _, reason := range []string{endIdle, endPlanned, endLoad, endPanic, endError, endOverrun, endAway} {
		k.endings[reason] = m.endings.WithLabelValues(kind, reason)
	}
	return k
}

// Metrics is what Prometheus collects of the node.
func (n *Node) Metrics() prometheus.Collector { return n.metrics }

func (m *metrics) parts() []prometheus.Collector {
	return []prometheus.Collector{m.activations, m.endings, m.panics, m.refused, m.dropped, m.retries, m.handling, m.asking}
}

func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, p := range m.parts() {
		p.Describe(to)
	}
	to <- m.active
}

func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, p := range m.parts() {
		p.Collect(to)
	}
	for kind, count := range m.countActive() {
		to <- prometheus.MustNewConstMetric(m.active, prometheus.GaugeValue, float64(count), kind)
	}
}
