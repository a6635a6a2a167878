// Package inquiry asks other homeservers what clients of this one want to know: profiles, aliases, published rooms, spaces. What
// they answer is taken apart, so that clients get nothing but what the specification has there.
package inquiry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/cache"
)

// Inquirer asks other homeservers. Its errors are for clients: what the other server refuses with, or 502 M_UNKNOWN when it cannot be
// reached or gives no usable answer.
type Inquirer struct {
	own     string
	caller  federation.Caller
	now     func() time.Time
	spaces  *cache.Cache[string, remembered]
	answers *cache.Cache[string, answer]
	flight  singleflight.Group
}

// answer is what a server has answered, good until then.
type answer struct {
	raw   jsontext.Value
	until time.Time
}

// New makes an Inquirer of the server with this name.
func New(own string, caller federation.Caller, now func() time.Time) *Inquirer {
	return &Inquirer{own: own, caller: caller, now: now, spaces: cache.New(cache.Options[string, remembered]{Size: spacesHeld,
		Weigh: func(key string, r remembered) uint32 { return uint32(len(key)) + r.size + spaceBeside }}),
		answers: cache.New(cache.Options[string, answer]{Size: answersHeld,
			Weigh: func(key string, a answer) uint32 { return uint32(len(key)+len(a.raw)) + answerBeside }})}
}

// The bounds of a question and its answer.
const (
	patience     = 20 * time.Second
	profileLimit = 128 << 10 // a profile may have 64 KiB
	aliasLimit   = 256 << 10
	roomsLimit   = 4 << 20
	aliasServers = 50
	mostRooms    = 1000 // in a page of published rooms
	// Profiles and lists of rooms are remembered for a short while, as the specification allows (GET /query/profile): apps ask for the
	// same again and again.
	answerMemory = time.Minute
	answersHeld  = 16 << 20 // bytes
	answerBeside = 200      // bytes that one takes besides
)

// ask makes the request and decodes what is answered.
func (i *Inquirer) ask(ctx context.Context, r federation.Request, into any) error {
	r.URI, r.Timeout, r.Eager = "/_matrix/federation/v1"+r.URI, patience, true
	raw, err := i.caller.Call(ctx, r)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return tell(err, r.Destination)
	}
	return nil
}

// askOnce is like ask for what is remembered for a while. Who asks for the same at the same time gets one answer.
func (i *Inquirer) askOnce(ctx context.Context, r federation.Request, into any) error {
	key := r.Destination + " " + r.URI + " " + string(r.Body)
	if known, ok := i.answers.Get(key); ok && i.now().Before(known.until) {
		return json.Unmarshal(known.raw, into)
	}
	done := i.flight.DoChan(key, func() (any, error) {
		var raw jsontext.Value
		err := i.ask(context.WithoutCancel(ctx), r, &raw)
		return raw, err
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case asked := <-done:
		if asked.Err != nil {
			return asked.Err
		}
		raw := asked.Val.(jsontext.Value)
		if err := json.Unmarshal(raw, into); err != nil {
			return tell(err, r.Destination)
		}
		i.answers.Set(key, answer{raw, i.now().Add(answerMemory)})
		return nil
	}
}

// tell makes of the failure what a client is told.
func tell(err error, server string) error {
	var refusal *federation.Error
	if errors.As(err, &refusal) && refusal.Code != "" && refusal.Status >= 400 && refusal.Status < 500 &&
		refusal.Status != http.StatusUnauthorized && refusal.Status != http.StatusTooManyRequests {
		return mxerr.New(refusal.Status, refusal.Code, "%s: %.500s", server, refusal.Message)
	}
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "%.255s could not be reached, or gave no usable answer: %v", server, err)
}

// Profile gives the profile of a user of another server, or one field of it.
func (i *Inquirer) Profile(ctx context.Context, userID, field string) (map[string]jsontext.Value, error) {
	query := url.Values{"user_id": {userID}}
	if field != "" {
		query.Set("field", field)
	}
	var profile map[string]jsontext.Value
	err := i.askOnce(ctx, federation.Request{Destination: id.ServerOf(userID), Method: http.MethodGet, URI: "/query/profile?" + query.Encode(), Limit: profileLimit}, &profile)
	for name, value := range profile {
		text := name == "displayname" || name == "avatar_url" || name == "m.tz"
		if len(name) > id.MaxLength || text && value.Kind() != '"' {
			delete(profile, name)
		}
	}
	return profile, err
}

// Alias gives the room that an alias of another server names, and servers through which it can be joined, that of the alias among them.
func (i *Inquirer) Alias(ctx context.Context, alias string) (roomID string, servers []string, err error) {
	_, server, err := id.ParseAlias(alias)
	if err != nil {
		return "", nil, mxerr.InvalidParam("%.255q is no room alias: %v", alias, err)
	}
	var answer struct {
		RoomID  string   `json:"room_id"`
		Servers []string `json:"servers"`
	}
	err = i.ask(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: "/query/directory?" + url.Values{"room_alias": {alias}}.Encode(), Limit: aliasLimit}, &answer)
	if err != nil {
		return "", nil, err
	}
	if !id.ValidRoomID(answer.RoomID) {
		return "", nil, tell(fmt.Errorf("%.255q is no room id", answer.RoomID), server)
	}
	servers = slices.DeleteFunc(answer.Servers, func(s string) bool { return !id.ValidServerName(s) })
	servers = servers[:min(len(servers), aliasServers)]
	if !slices.Contains(servers, server) {
		servers = append(servers, server)
	}
	return answer.RoomID, servers, nil
}

// PublicRooms is a page of the rooms that a server publishes.
type PublicRooms struct {
	Chunk     []jsontext.Value `json:"chunk"`
	NextBatch string           `json:"next_batch,omitempty"`
	PrevBatch string           `json:"prev_batch,omitempty"`
	Total     *int64           `json:"total_room_count_estimate,omitempty"`
}

// PublicRooms asks for a page; query is the body of POST /publicRooms. A room is left out unless readable says that it is one.
func (i *Inquirer) PublicRooms(ctx context.Context, server string, query any, readable func(jsontext.Value) bool) (*PublicRooms, error) {
	if !id.ValidServerName(server) {
		return nil, mxerr.InvalidParam("%.255q is no server name", server)
	}
	body, err := json.Marshal(query, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	var page PublicRooms
	if err := i.askOnce(ctx, federation.Request{Destination: server, Method: http.MethodPost, URI: "/publicRooms", Body: body, Limit: roomsLimit}, &page); err != nil {
		return nil, err
	}
	page.Chunk = slices.DeleteFunc(page.Chunk, func(room jsontext.Value) bool { return !readable(room) })
	page.Chunk = page.Chunk[:min(len(page.Chunk), mostRooms)]
	return &page, nil
}
