package postgres

import (
	"log/slog"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/matrixon/matrixon/persistence"
)

// Notices are told as they were, with their positions, and as any protobuf library would write them.
func TestNoticesAreAnys(t *testing.T) {
	t.Parallel()
	notices := []proto.Message{wrapperspb.String("one"), &emptypb.Empty{}, durationpb.New(3)}
	requests := []*request{
		{position: 7, commit: &persistence.Commit{Notices: notices[:2]}},
		{position: 8, commit: &persistence.Commit{}},
		{err: persistence.ErrConflict, commit: &persistence.Commit{Notices: notices}},
		{position: 300, commit: &persistence.Commit{Notices: notices[2:]}},
	}
	raw, err := encodeNotices(requests)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, part := range []struct {
		position uint64
		notices  []proto.Message
	}{{7, notices[:2]}, {300, notices[2:]}} {
		want = protowire.AppendVarint(protowire.AppendVarint(want, part.position), uint64(len(part.notices)))
		for _, n := range part.notices {
			packed, err := anypb.New(n)
			if err != nil {
				t.Fatal(err)
			}
			if want, err = (proto.MarshalOptions{}).MarshalAppend(protowire.AppendVarint(want, uint64(proto.Size(packed))), packed); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(raw) != string(want) {
		t.Errorf("written as %q, want %q", raw, want)
	}
	told := map[persistence.Position][]proto.Message{}
	s := &Store{log: slog.New(slog.DiscardHandler), follower: func(p persistence.Position, n []proto.Message) { told[p] = n }}
	for _, form := range [][]byte{raw, want} {
		clear(told)
		if err := s.tellEncoded(form); err != nil {
			t.Fatal(err)
		}
		if len(told) != 2 || len(told[7]) != 2 || len(told[300]) != 1 {
			t.Fatalf("told %v", told)
		}
		for i, n := range append(told[7], told[300]...) {
			if !proto.Equal(n, notices[i]) {
				t.Errorf("notice %d is %v, want %v", i, n, notices[i])
			}
		}
	}
}

// What a newer version tells in a message of its own is passed over, and what is no notice is refused.
func TestForeignNotices(t *testing.T) {
	t.Parallel()
	var told []proto.Message
	s := &Store{log: slog.New(slog.DiscardHandler), follower: func(_ persistence.Position, n []proto.Message) { told = append(told, n...) }}
	unknown, err := proto.Marshal(&anypb.Any{TypeUrl: typeHost + "matrixon.FromTheFuture", Value: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	raw := protowire.AppendBytes([]byte{5, 2}, unknown)
	if raw, err = appendNotice(raw, wrapperspb.Bool(true)); err != nil {
		t.Fatal(err)
	}
	if err := s.tellEncoded(raw); err != nil || len(told) != 1 || !proto.Equal(told[0], wrapperspb.Bool(true)) {
		t.Errorf("told %v, %v", told, err)
	}
	for cut := 1; cut < len(raw); cut++ {
		if err := s.tellEncoded(raw[:cut]); err == nil {
			t.Errorf("the first %d bytes of %d are accepted", cut, len(raw))
		}
	}
}
