package appservice

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are what is measured of an actor.
type figures struct{ behind, failures, events float64 }

func (a *actor) figures() figures {
	q := a.status.Load().queue
	return figures{behind: float64(behind(a.deps.Store.Position(), q)), failures: float64(a.failures.Load()), events: float64(q.Events)}
}

var (
	descBehind   = prometheus.NewDesc("matrixon_appservice_behind", "Commits since the last one that the application service has been sent, or that did not concern it.", []string{"appservice"}, nil)
	descFailures = prometheus.NewDesc("matrixon_appservice_failures", "Attempts in a row to send an application service what waits for it that have failed.", []string{"appservice"}, nil)
	descEvents   = prometheus.NewDesc("matrixon_appservice_events_total", "Events that the application service has acknowledged.", []string{"appservice"}, nil)
)

// Describe implements prometheus.Collector.
func (b *Board) Describe(to chan<- *prometheus.Desc) {
	to <- descBehind
	to <- descFailures
	to <- descEvents
}

// Collect implements prometheus.Collector: it tells of the actors that live on this node.
func (b *Board) Collect(to chan<- prometheus.Metric) {
	b.mu.Lock()
	desks := maps.Clone(b.desks) // a store may publish with a lock of its own held
	b.mu.Unlock()
	for id, d := range desks {
		f := d.figures()
		to <- prometheus.MustNewConstMetric(descBehind, prometheus.GaugeValue, f.behind, id)
		to <- prometheus.MustNewConstMetric(descFailures, prometheus.GaugeValue, f.failures, id)
		to <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, f.events, id)
	}
}
