package federation

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/peers"
)

// recorder is another homeserver that writes down the events that it is sent. It is a difficult one: it hangs up on every third
// transaction after it has read it, and answers to some that it is broken.
type recorder struct {
	*peers.Stranger
	t       *testing.T
	version *roomversion.Version

	mu           sync.Mutex
	sent         int
	transactions map[string]string // the ids of the events of each
	order        []*event.Event    // as they came first
	times        map[string]int    // how often each event came
	changed      chan struct{}
}

func newRecorder(t *testing.T, s *peers.Stranger, v *roomversion.Version) *recorder {
	r := &recorder{Stranger: s, t: t, version: v, transactions: map[string]string{}, times: map[string]int{}, changed: make(chan struct{}, 1)}
	s.Mux.HandleFunc("PUT /_matrix/federation/v1/send/{txn}", r.take)
	return r
}

func (r *recorder) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	r.mu.Lock()
	r.sent++
	n := r.sent
	r.record(req.PathValue("txn"), gjson.GetBytes(body, "pdus").Array())
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	switch {
	case n%3 == 0:
		panic(http.ErrAbortHandler)
	case n%7 == 0:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		_, _ = io.WriteString(w, `{"pdus":{}}`)
	}
}

func (r *recorder) record(txn string, pdus []gjson.Result) {
	ids := make([]string, len(pdus))
	for i, raw := range pdus {
		e, err := event.Parse([]byte(raw.Raw), r.version)
		if err != nil {
			r.t.Errorf("the transaction %s brings what is no event: %v", txn, err)
			continue
		}
		ids[i] = e.ID()
		if r.times[e.ID()]++; r.times[e.ID()] == 1 {
			r.order = append(r.order, e)
		}
	}
	all := strings.Join(ids, " ")
	if before, again := r.transactions[txn]; again && before != all {
		r.t.Errorf("the transaction %s has other events when it is sent again", txn)
	}
	r.transactions[txn] = all
}

// wait waits until all of the events have come.
func (r *recorder) wait(ids map[string]bool) {
	r.t.Helper()
	late := time.After(patience)
	for {
		missing := 0
		r.mu.Lock()
		for id := range ids {
			if r.times[id] == 0 {
				missing++
			}
		}
		r.mu.Unlock()
		if missing == 0 {
			return
		}
		select {
		case <-r.changed:
		case <-late:
			r.t.Fatalf("%d of %d events have not come", missing, len(ids))
		}
	}
}

// checkOrder wants the events to have come first in the order of their room.
func (r *recorder) checkOrder() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.IsSortedFunc(r.order, func(a, b *event.Event) int { return int(a.Depth() - b.Depth()) }) {
		r.t.Error("the events did not come in the order of their room")
	}
	again := 0
	for _, n := range r.times {
		again += n - 1
	}
	r.t.Logf("%d events in %d transactions, which were sent %d times; %d events came again", len(r.order), len(r.transactions), r.sent, again)
}
