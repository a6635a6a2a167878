package cluster

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/matrixon/matrixon/messages"
)

// linked is a node with one kind, and peers that know it as "a".
func linked(t *testing.T, k Kind) *peers {
	t.Helper()
	n := startNode(t, Options{}, k)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := servePeers(n, ln, insecure.NewCredentials(), func() *messages.PeerView { return nil }, slog.New(slog.DiscardHandler))
	t.Cleanup(server.grpc.Stop)
	p := newPeers(insecure.NewCredentials())
	t.Cleanup(p.close)
	if err := p.update(NewView([]Member{{Name: "a", Incarnation: "1", Address: ln.Addr().String()}}, nil), "b"); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPeersAnswerEachOnce(t *testing.T) {
	t.Parallel()
	p := linked(t, Kind{New: func(id Identity) Behavior {
		return &script{receive: func(_ Self, m Message) { m.Reply(&messages.EventSent{EventId: id.ID}) }}
	}})
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			id := roomID(i)
			answer, err := p.ask(deadline(t), "a", id, &messages.SendEvent{Event: &messages.Proposal{Content: make([]byte, 1000*(i%7))}})
			if sent, ok := answer.(*messages.EventSent); err != nil || !ok || sent.EventId != id.ID {
				t.Errorf("asked %s: %v, %v", id.ID, answer, err)
			}
		})
	}
	all.Wait()
}

func TestPeersRefuseWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	huge := &messages.EventSent{EventId: string(make([]byte, maxPeerMessage))}
	p := linked(t, Kind{New: func(id Identity) Behavior {
		return &script{receive: func(_ Self, m Message) {
			if id.ID == "!huge" {
				m.Reply(huge)
				return
			}
			m.Reply(&messages.Done{})
		}}
	}})
	if _, err := p.ask(deadline(t), "a", room("!small"), huge); err == nil || retryable(err) {
		t.Errorf("asked with a request beyond the bound: %v", err)
	}
	_, err := p.ask(deadline(t), "a", room("!huge"), &messages.SendEvent{})
	wantError(t, err, 500, "M_UNKNOWN")
	if p.tell("a", room("!small"), huge) {
		t.Error("told beyond the bound")
	}
	answer, err := p.ask(deadline(t), "a", room("!small"), &messages.SendEvent{})
	wantDone(t, answer, err)
}

func TestPeersDoNotBeginWhatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var begun []string
	hold, held := make(chan struct{}), make(chan struct{})
	p := linked(t, Kind{New: func(id Identity) Behavior {
		return &script{receive: func(_ Self, m Message) {
			if e, ok := m.Body.(*messages.SendEvent); ok && id.ID == "!busy" {
				mu.Lock()
				begun = append(begun, e.TxnId)
				mu.Unlock()
				if e.TxnId == "first" {
					close(held)
					<-hold
				}
			}
			m.Reply(&messages.Done{})
		}}
	}})
	ask := func(ctx context.Context, id, txn string) error {
		_, err := p.ask(ctx, "a", room(id), &messages.SendEvent{TxnId: txn})
		return err
	}
	var all sync.WaitGroup
	all.Go(func() {
		if err := ask(deadline(t), "!busy", "first"); err != nil {
			t.Error(err)
		}
	})
	<-held
	ctx, cancel := context.WithCancel(deadline(t))
	gaveUp := make(chan error, 1)
	go func() { gaveUp <- ask(ctx, "!busy", "second") }()
	eventually(t, "the second is asked", func() bool {
		l := p.peer("a").link
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.talk.last == 2
	})
	cancel()
	wantError(t, <-gaveUp, 504, "M_UNKNOWN")
	for range 2 { // what is abandoned is told after the requests of the same piece
		if err := ask(deadline(t), "!other", ""); err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	all.Wait()
	if err := ask(deadline(t), "!busy", "third"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(begun, []string{"first", "third"}) {
		t.Errorf("begun: %v", begun)
	}
}

func TestPeersThatGoAreAskedElsewhere(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	p := linked(t, Kind{New: func(Identity) Behavior {
		return &script{receive: func(Self, Message) { close(held) }}
	}})
	asked := make(chan error, 1)
	go func() {
		_, err := p.ask(deadline(t), "a", room("!a"), &messages.SendEvent{})
		asked <- err
	}()
	<-held
	if err := p.update(NewView(nil, nil), "b"); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !retryable(err) {
		t.Errorf("asked a member that is gone: %v", err)
	}
}

func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	of := func(number uint64, size int) *messages.PeerRequest {
		return &messages.PeerRequest{Number: number, Message: &anypb.Any{Value: make([]byte, size)}}
	}
	l := &link{}
	talk := &talk{tells: 2, abandoned: []uint64{9}, queue: []*messages.PeerRequest{of(1, 10), of(0, 10), of(2, framePayload), of(3, 1), of(0, 1)}}
	var got [][]uint64
	for f := l.frame(talk); f != nil; f = l.frame(talk) {
		var numbers []uint64
		for _, r := range f.Requests {
			numbers = append(numbers, r.Number)
		}
		got = append(got, numbers)
		if first := len(got) == 1; first != (len(f.Abandoned) == 1) {
			t.Errorf("piece %d says of %v that they are abandoned", len(got), f.Abandoned)
		}
	}
	if want := [][]uint64{{1, 0}, {2}, {3, 0}}; !slices.EqualFunc(got, want, slices.Equal) || talk.tells != 0 {
		t.Errorf("sent in pieces %v, want %v; %d told wait", got, want, talk.tells)
	}
}
