package inquiry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/id"
)

// What servers tell of rooms is remembered, as the specification advises: a space is walked again for every page of it.
const (
	spaceMemory   = 5 * time.Minute
	failureMemory = time.Minute
	spacesHeld    = 64 << 20 // bytes of answers
	spaceBeside   = 500      // bytes that one takes besides
	spaceLimit    = 4 << 20
	spacePatience = 8 * time.Second // with one server
	spaceServers  = 3               // that are asked about a room
)

// remembered is what was learnt of a room; space is nil when no server told.
type remembered struct {
	space *reader.ForeignSpace
	until time.Time
	size  uint32 // bytes of the answer
}

// Space asks servers that may know of a room, one after another, what it is and what its children are. ok is false when none tells.
func (i *Inquirer) Space(ctx context.Context, roomID string, via []string, suggestedOnly bool) (space *reader.ForeignSpace, ok bool) {
	key := roomID
	if suggestedOnly {
		key += " suggested"
	}
	if known, ok := i.spaces.Get(key); ok && i.now().Before(known.until) {
		return known.space, known.space != nil
	}
	done := i.flight.DoChan(key, func() (any, error) {
		ctx := context.WithoutCancel(ctx)
		found := remembered{until: i.now().Add(failureMemory)}
		for _, server := range i.others(via) {
			if s, size, err := i.space(ctx, server, roomID, suggestedOnly); err == nil {
				found = remembered{s, i.now().Add(spaceMemory), size}
				break
			}
		}
		i.spaces.Set(key, found)
		return found.space, nil
	})
	select {
	case <-ctx.Done():
		return nil, false
	case r := <-done:
		space, _ = r.Val.(*reader.ForeignSpace)
		return space, space != nil
	}
}

// others are the servers to ask: not this one, none twice, and only so many.
func (i *Inquirer) others(via []string) (servers []string) {
	for _, server := range via {
		if server != i.own && id.ValidServerName(server) && !slices.Contains(servers, server) && len(servers) < spaceServers {
			servers = append(servers, server)
		}
	}
	return servers
}

func (i *Inquirer) space(ctx context.Context, server, roomID string, suggestedOnly bool) (*reader.ForeignSpace, uint32, error) {
	uri := "/_matrix/federation/v1/hierarchy/" + url.PathEscape(roomID)
	if suggestedOnly {
		uri += "?suggested_only=true"
	}
	raw, err := i.caller.Call(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: uri, Limit: spaceLimit, Timeout: spacePatience})
	if err != nil {
		return nil, 0, err
	}
	space, err := reader.ReadForeignSpace(roomID, raw)
	return space, uint32(len(raw)), err //nolint:gosec // spaceLimit bounds it
}
