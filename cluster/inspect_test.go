package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	clock := newWall()
	gate := make(chan struct{})
	n := startNode(t, Options{Clock: clock}, Kind{New: func(Identity) Behavior {
		return &script{
			receive: func(_ Self, m Message) {
				if _, ok := m.Body.(*messages.Forget); ok {
					<-gate
				}
				m.Reply(&messages.Done{})
			},
			inspect: func(s *messages.Summary) { s.Seq, s.Details = 42, map[string]string{"members": "3"} },
		}
	}})
	_, err := n.Inspect(deadline(t), room("!a"))
	wantError(t, err, 404, "M_NOT_FOUND")
	answer, err := n.Ask(deadline(t), room("!a"), &messages.SendEvent{})
	wantDone(t, answer, err)
	s, err := n.Inspect(deadline(t), room("!a"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != "room" || s.Id != "!a" || s.Node != "a" || s.MessagesHandled != 1 || s.LastMessage != "SendEvent" || s.Seq != 42 ||
		s.Details["members"] != "3" || s.Details["state"] != "active" || s.ActivatedTs != clock.Now().UnixMilli() || s.LastMessageTs == 0 {
		t.Fatalf("%v", s)
	}
	n.Tell(room("!a"), &messages.Forget{})
	if s, err = n.Inspect(deadline(t), room("!a")); err != nil || s.Details["state"] != "busy" || s.Seq != 0 {
		t.Fatalf("%v %v", s, err)
	}
	close(gate)
	if s, err = Ask[*messages.Summary](deadline(t), n, room("!a"), &messages.Inspect{}); err != nil || s.Seq != 42 {
		t.Fatalf("%v %v", s, err)
	}
}

func TestActorsAreListedAsAsked(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior { return &script{} }})
	for i := range 5 {
		for range i + 1 {
			answer, err := n.Ask(deadline(t), room(fmt.Sprint("!", i)), &messages.Done{})
			wantDone(t, answer, err)
		}
	}
	eventually(t, "accounted", func() bool { // which is done after the answers are given
		var all uint64
		for _, actor := range n.Actors(Filter{}) {
			all += actor.Handled
		}
		return all == 1+2+3+4+5
	})
	list := n.Actors(Filter{Kind: KindRoom, Match: func(i Info) bool { return i.ID != "!3" }, Order: ByHandled, Limit: 2})
	if len(list) != 2 || list[0].ID != "!4" || list[1].ID != "!2" {
		t.Fatalf("%+v", list)
	}
	if len(n.Actors(Filter{Kind: KindUser})) != 0 {
		t.Fatal("users listed")
	}
}

func TestMetricsAreByKind(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior { return &script{} }})
	for i := range 3 {
		answer, err := n.Ask(deadline(t), room(fmt.Sprint("!", i)), &messages.Done{})
		wantDone(t, answer, err)
	}
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(n.Metrics()); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if m.Label[0].GetName() != "kind" || m.Label[0].GetValue() != KindRoom {
				t.Fatalf("label %v", m.Label)
			}
			values[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if values["matrixon_actor_active"] != 3 || values["matrixon_actor_activations_total"] != 3 || values["matrixon_actor_asking_seconds"] != 3 {
		t.Fatalf("%v", values)
	}
}

func TestFailuresAreRememberedBeyondTheActor(t *testing.T) {
	t.Parallel()
	clock := newWall()
	n := startNode(t, Options{Clock: clock}, Kind{New: func(Identity) Behavior {
		return &script{load: func(context.Context, Self) error { return mxerr.Unknown("torn at %d", clock.Now().Unix()) }}
	}})
	begun := clock.Now()
	for i := range failuresEach + 2 {
		clock.advance(time.Second)
		if _, err := n.Ask(deadline(t), room("!a"), &messages.Done{}); err == nil {
			t.Fatal("an actor that cannot begin answers")
		}
		eventually(t, "remembered", func() bool {
			list := n.Failures(room("!a"))
			// One that is still stopping would be followed by another, which fails in the same second.
			return len(list) > 0 && list[0].At.Equal(begun.Add(time.Duration(i+1)*time.Second)) && n.active(room("!a")) == nil
		})
	}
	list := n.Failures(room("!a"))
	if len(list) != failuresEach || !strings.Contains(list[0].Text, fmt.Sprint(begun.Unix()+failuresEach+2)) || !list[1].At.Before(list[0].At) {
		t.Fatalf("%v", list)
	}
	if len(n.Failures(room("!b"))) != 0 {
		t.Fatal("another actor's failures")
	}
	for i := range failureMemory {
		n.failures.add(room(fmt.Sprint("!", i)), Failure{Text: "x"})
	}
	if len(n.Failures(room("!a"))) != 0 || len(n.Failures(room("!0"))) != 1 {
		t.Fatal("the oldest is not the one forgotten")
	}
}
