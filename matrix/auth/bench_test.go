package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

func BenchmarkCheck(b *testing.B) {
	v, _ := roomversion.Get("12")
	var users []string
	for i := range 1000 {
		users = append(users, fmt.Sprintf(`"@user%d:b":50`, i))
	}
	large := newRoom(b, v)
	large.set(creator, "m.room.power_levels", "", `{"users":{`+strings.Join(users, ",")+`,"@admin:a":100}}`)
	small := newRoom(b, v)
	for _, bench := range []struct {
		name string
		room *room
		e    *event.Event
	}{
		{"message", small, small.build(draft{sender: member, typ: "m.room.message", content: `{"body":"hello","msgtype":"m.text"}`, prev: []string{"$tip:a"}})},
		{"join", small, small.membership(stranger, stranger, "join")},
		{"ban", small, small.membership(admin, member, "ban")},
		{"message, 1000 users with power", large, large.build(draft{sender: member, typ: "m.room.message", content: `{}`, prev: []string{"$tip:a"}})},
		{"power levels, 1000 users with power", large, large.send(admin, "m.room.power_levels", "", string(large.state[event.Tuple{Type: "m.room.power_levels"}].Content()))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := auth.Check(bench.e, bench.room); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
