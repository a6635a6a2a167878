package destination_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/destination"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// counter stands for actors that are all active.
type counter struct{ told atomic.Int64 }

func (c *counter) Ask(context.Context, cluster.Identity, proto.Message) (proto.Message, error) {
	return nil, context.Canceled
}
func (c *counter) Tell(cluster.Identity, proto.Message) {}
func (c *counter) TellActive(cluster.Identity, proto.Message) bool {
	c.told.Add(1)
	return true
}

// BenchmarkFanOut is one event in a room with users of 500 other servers, up to their mailboxes: for events that come one by one, and in
// bursts of 50.
func BenchmarkFanOut(b *testing.B) {
	const servers = 500
	for _, burst := range []int{1, 50} {
		b.Run(fmt.Sprintf("bursts of %d", burst), func(b *testing.B) {
			w := actortest.OnDisk(b, b.TempDir())
			var rows []persistence.Mutation
			for i := range servers {
				rows = append(rows, schema.RoomServers.Put(schema.RoomServer{RoomID: "!a", Server: fmt.Sprintf("s%d.example", i), Joined: 1, JoinedSeq: 1}))
			}
			w.Write(rows...)
			actors := &counter{}
			d := destination.NewDispatcher(destination.DispatcherOptions{Store: w.Store, Caller: actors, ServerName: actortest.ServerName, Log: slog.New(slog.DiscardHandler)})
			b.ReportAllocs()
			for b.Loop() {
				for n := range burst {
					d.Publish(persistence.Position(n+10), []proto.Message{&messages.OutboundNotice{RoomId: "!a", Seqs: []uint64{uint64(n) + 10}}})
				}
				if err := d.Round(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(actors.told.Load()/servers), "µs/event")
		})
	}
}
