package destination_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/destination"
	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const remote = "remote.example"

// sent is one transaction on its way. The test answers it.
type sent struct {
	id   string
	body string
	end  chan error
}

// answer has the other server take the transaction, or fail.
func (s sent) answer(err error) { s.end <- err }

func (s sent) events() []string {
	var ids []string
	for _, pdu := range gjson.Get(s.body, "pdus").Array() {
		ids = append(ids, pdu.Get("event").Str)
	}
	return ids
}

var errDown = federation.Unreachable(errors.New("nobody listens"))

// network is what destinations send into.
type network struct {
	sent chan sent
	deaf atomic.Bool // it takes no events
}

func (n *network) Call(ctx context.Context, r federation.Request) (jsontext.Value, error) {
	txn := sent{strings.TrimPrefix(r.URI, "/_matrix/federation/v1/send/"), string(r.Body), make(chan error, 1)}
	select {
	case n.sent <- txn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-txn.end:
		return n.taken(r.Body), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// taken is the answer to a transaction.
func (n *network) taken(body []byte) jsontext.Value {
	var results []string
	for i := range gjson.GetBytes(body, "pdus").Array() {
		results = append(results, fmt.Sprintf(`"$%d":{}`, i))
	}
	if n.deaf.Load() {
		results = nil
	}
	return jsontext.Value(`{"pdus":{` + strings.Join(results, ",") + `}}`)
}

func (n *network) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", errors.ErrUnsupported
}

// world is a server with one other in its rooms.
type world struct {
	*actortest.World
	net        *network
	dispatcher *destination.Dispatcher
	seqs       map[string]uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: actortest.OnDisk(t, t.TempDir()), net: &network{sent: make(chan sent)}, seqs: map[string]uint64{}}
	w.register()
	return w
}

// register makes the actors possible on the present node.
func (w *world) register() {
	w.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := destination.NewDispatcher(destination.DispatcherOptions{Store: w.Store, Caller: w.Node, ServerName: actortest.ServerName,
		Mine: func(cluster.Identity) bool { return true }, Log: slog.New(slog.DiscardHandler)})
	w.dispatcher = d
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	w.T.Cleanup(func() {
		cancel()
		<-done
	})
	err := w.Node.Register(cluster.Kind{Name: cluster.KindDestination, Bound: 64, New: destination.New(destination.Deps{
		Store: w.Store, Caller: w.net, ServerName: actortest.ServerName, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Jitter: func() float64 { return 0 }})})
	if err != nil {
		w.T.Fatal(err)
	}
}

// joins has the other server come into a room.
func (w *world) joins(server, roomID string) {
	w.seqs[roomID]++
	w.Write(schema.RoomServers.Put(schema.RoomServer{RoomID: roomID, Server: server, Joined: 1, JoinedSeq: w.seqs[roomID]}))
}

// event appends an event of ours to the room, and tells of it. Its name is the room's with its number.
func (w *world) event(roomID string, more ...persistence.Mutation) string {
	w.seqs[roomID]++
	seq := w.seqs[roomID]
	name := fmt.Sprintf("%s-%d", roomID, seq)
	rows := append([]persistence.Mutation{
		schema.Events.Put(schema.Event{RoomID: roomID, Seq: seq, EventID: "$" + name, Type: "m.room.message", Sender: "@us:" + actortest.ServerName,
			JSON: fmt.Appendf(nil, `{"event":%q}`, name)}),
		schema.OutboundEvents.Put(schema.OutboundEvent{RoomID: roomID, Seq: seq})}, more...)
	w.commit(&messages.OutboundNotice{RoomId: roomID, Seqs: []uint64{seq}}, rows...)
	return name
}

// commit writes, and tells this node.
func (w *world) commit(notice proto.Message, rows ...persistence.Mutation) {
	w.T.Helper()
	pos, err := persistence.Await(context.Background(), w.Store, &persistence.Commit{Write: rows})
	if err != nil {
		w.T.Fatal(err)
	}
	if notice != nil {
		w.dispatcher.Publish(pos, []proto.Message{notice})
	}
}

// next is the next transaction that is sent.
func (w *world) next() sent {
	w.T.Helper()
	select {
	case s := <-w.net.sent:
		return s
	case <-time.After(20 * time.Second):
		w.T.Fatal("nothing is sent")
		return sent{}
	}
}

// nextEvents takes transactions until these events have come, in this order and nothing else.
func (w *world) nextEvents(want ...string) {
	w.T.Helper()
	var got []string
	for len(got) < len(want) {
		s := w.next()
		got = append(got, s.events()...)
		s.answer(nil)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.T.Fatalf("sent %v, not %v", got, want)
	}
}

func (w *world) actor() cluster.Identity {
	return cluster.Identity{Kind: cluster.KindDestination, ID: remote}
}

// operate does what an operator would.
func (w *world) operate(action messages.OperateDestination_Action) *messages.DestinationStatus {
	w.T.Helper()
	status, err := cluster.Ask[*messages.DestinationStatus](context.Background(), w.Node, w.actor(), &messages.OperateDestination{Action: action})
	if err != nil {
		w.T.Fatal(err)
	}
	return status
}

// rest waits until everything that was sent is concluded.
func (w *world) rest() {
	w.T.Helper()
	w.await("the transaction is concluded", func() bool {
		s := w.operate(messages.OperateDestination_DESCRIBE)
		_, inHand, err := schema.DestinationTransactions.Get(context.Background(), w.Store, schema.DestinationTransaction{Destination: remote})
		return err == nil && !inHand && s.TxnId == "" && s.QueuedEvents == 0
	})
}

// await asks until it is so.
func (w *world) await(what string, so func() bool) {
	w.T.Helper()
	for range 2000 {
		if so() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.T.Fatalf("it never comes that %s", what)
}

func (w *world) keeper() *destination.Keeper {
	return &destination.Keeper{Store: w.Store, Caller: w.Node, ServerName: actortest.ServerName, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler)}
}

// tend does what the keeper does every now and then, waking included.
func (w *world) tend(k *destination.Keeper) {
	w.T.Helper()
	names, err := k.Tend(context.Background())
	if err != nil {
		w.T.Fatal(err)
	}
	for _, name := range names {
		w.Node.Tell(cluster.Identity{Kind: cluster.KindDestination, ID: name}, &messages.WakeDestination{Rescan: true})
	}
}

func count[R any](w *world, table *persistence.Table[R]) int {
	w.T.Helper()
	rows, err := table.All(context.Background(), w.Store, persistence.Range[R]{})
	if err != nil {
		w.T.Fatal(err)
	}
	return len(rows)
}
