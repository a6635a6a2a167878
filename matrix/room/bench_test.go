package room

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkSend is a local message of about 1 kB: checked, built, hashed, signed, and made ready.
func BenchmarkSend(b *testing.B) {
	for _, version := range []string{"10", "12"} {
		b.Run("v"+version, func(b *testing.B) {
			w := newWorld(b)
			w.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
			body := strings.Repeat("x", 600)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				from := From{Ticket: 1, UserID: "@alice:test", DeviceID: "DEV", Now: int64(i)}
				w.m.Step(Propose{From: from, TxnID: fmt.Sprint(i),
					Event: Proposal{Type: "m.room.message", Sender: "@alice:test", Content: []byte(`{"msgtype":"m.text","body":"` + body + `"}`)}})
				if r := w.m.Ready(); r.Batch == nil || len(r.Batch.Entries) != 1 {
					b.Fatal("the message was refused")
				}
				w.m.Committed(uint64(i))
			}
		})
	}
}

// BenchmarkJoin is a join of a room that has many members, the most expensive common state event.
func BenchmarkJoin(b *testing.B) {
	w := newWorld(b)
	w.create("@alice:test", `{"preset":"public_chat"}`)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		user := fmt.Sprintf("@u%d:test", i)
		w.m.Step(ChangeMembership{From: From{Ticket: 1, UserID: user, Now: int64(i)}, Action: Join, Target: user})
		if r := w.m.Ready(); r.Batch == nil || len(r.Batch.Entries) != 1 {
			b.Fatal("the join was refused")
		}
		w.m.Committed(uint64(i))
	}
}
