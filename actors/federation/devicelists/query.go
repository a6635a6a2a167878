package devicelists

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of asking other servers for keys.
const (
	serversAtOnce = 32
	usersAtOnce   = 250 // in one request to a server
)

// Query adds what is known of the users of other servers to an answer of POST /keys/query: of the devices listed for each, or of all when
// none is. Servers are asked for what is not kept here, for patience at most; those that give nothing are named among the failures.
func (l *Lists) Query(ctx context.Context, asker string, wanted map[string][]string, patience time.Duration, answer *keys.Answer) error {
	missing := map[string][]string{}
	for userID, devices := range wanted {
		known, ok, err := l.kept(ctx, userID)
		if err != nil {
			return err
		}
		if !ok {
			missing[userID] = devices
			continue
		}
		found := map[string]jsontext.Value{}
		for _, d := range known.Devices {
			if found[d.DeviceID], err = d.named(); err != nil {
				return err
			}
		}
		if err := answer.Add(ctx, l.o.Store, asker, userID, only(found, devices), known.Master, known.SelfSigning); err != nil {
			return err
		}
	}
	asked := func(ctx context.Context, server string, users map[string][]string) (add func() error, err error) {
		raw, err := l.ask(ctx, server, "/_matrix/federation/v1/user/keys/query", map[string]any{"device_keys": users})
		if err != nil {
			return nil, err
		}
		var told struct {
			DeviceKeys  map[string]map[string]jsontext.Value `json:"device_keys"`
			Master      map[string]jsontext.Value            `json:"master_keys"`
			SelfSigning map[string]jsontext.Value            `json:"self_signing_keys"`
		}
		if err := json.Unmarshal(raw, &told); err != nil {
			return nil, err
		}
		return func() error {
			for userID, devices := range users {
				found := told.DeviceKeys[userID]
				maps.DeleteFunc(found, func(deviceID string, keys jsontext.Value) bool { return !ofDevice(keys, userID, deviceID) })
				if err := answer.Add(ctx, l.o.Store, asker, userID, only(found, devices), ofUser(told.Master[userID], userID), ofUser(told.SelfSigning[userID], userID)); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
	return each(ctx, missing, patience, answer.Failures, asked)
}

// kept gives the list that is kept of the user. One that should be is fetched in the background.
func (l *Lists) kept(ctx context.Context, userID string) (known list, ok bool, err error) {
	rooms, since, err := l.shared(ctx, userID)
	if err != nil || len(rooms) == 0 {
		return known, false, err
	}
	row, ok, err := schema.RemoteDeviceLists.Get(ctx, l.o.Store, schema.RemoteDeviceList{UserID: userID})
	if err != nil {
		return known, false, err
	}
	if !ok || !current(row, since) {
		l.Want(userID)
		return known, false, nil
	}
	return known, true, json.Unmarshal(row.JSON, &known)
}

// only keeps the devices that are wanted: all when none is named.
func only(found map[string]jsontext.Value, wanted []string) map[string]jsontext.Value {
	if len(wanted) > 0 {
		maps.DeleteFunc(found, func(deviceID string, _ jsontext.Value) bool { return !slices.Contains(wanted, deviceID) })
	}
	return found
}

// Claim takes one-time keys of devices of users of other servers: user → device → algorithm. It gives user → device → key id → key, and
// says of each server that gave none why, as errors of clients.
func (l *Lists) Claim(ctx context.Context, wanted map[string]map[string]string, patience time.Duration) (found map[string]map[string]map[string]jsontext.Value, failures map[string]jsontext.Value, err error) {
	found, failures = map[string]map[string]map[string]jsontext.Value{}, map[string]jsontext.Value{}
	err = each(ctx, wanted, patience, failures, func(ctx context.Context, server string, users map[string]map[string]string) (func() error, error) {
		raw, err := l.ask(ctx, server, "/_matrix/federation/v1/user/keys/claim", map[string]any{"one_time_keys": users})
		if err != nil {
			return nil, err
		}
		var told struct {
			OneTimeKeys map[string]map[string]map[string]jsontext.Value `json:"one_time_keys"`
		}
		if err := json.Unmarshal(raw, &told); err != nil {
			return nil, err
		}
		return func() error {
			for userID, devices := range users {
				for deviceID, algorithm := range devices {
					key := told.OneTimeKeys[userID][deviceID]
					maps.DeleteFunc(key, func(keyID string, value jsontext.Value) bool {
						return !strings.HasPrefix(keyID, algorithm+":") || len(value) > longestKey
					})
					if len(key) != 1 {
						continue
					}
					if found[userID] == nil {
						found[userID] = map[string]map[string]jsontext.Value{}
					}
					found[userID][deviceID] = key
				}
			}
			return nil
		}, nil
	})
	return found, failures, err
}

// each asks the servers of the users, a part of the users at a time, and adds what they answer, one after another.
func each[W any](ctx context.Context, wanted map[string]W, patience time.Duration, failures map[string]jsontext.Value,
	ask func(ctx context.Context, server string, users map[string]W) (add func() error, err error)) error {
	parts := map[string][]map[string]W{}
	for userID, w := range wanted {
		server := id.ServerOf(userID)
		n := len(parts[server])
		if n == 0 || len(parts[server][n-1]) == usersAtOnce {
			parts[server] = append(parts[server], map[string]W{})
			n++
		}
		parts[server][n-1][userID] = w
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(serversAtOnce)
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for server, several := range parts {
		for _, users := range several {
			g.Go(func() error {
				add, err := ask(waiting, server, users)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failures[server] = failure(err)
					return nil
				}
				return add()
			})
		}
	}
	return g.Wait()
}

func (l *Lists) ask(ctx context.Context, server, uri string, body any) (jsontext.Value, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return l.o.Caller.Call(ctx, federation.Request{Destination: server, Method: "POST", URI: uri, Body: raw, Limit: longestAnswer})
}

// failure is what clients are told of a server that did not answer.
func failure(err error) jsontext.Value {
	status, code, message := 503, "M_UNKNOWN", "the server could not be reached"
	var refusal *federation.Error
	if errors.As(err, &refusal) {
		status, message = refusal.Status, "the server refuses"
		if refusal.Code != "" {
			code = refusal.Code
		}
		if refusal.Message != "" {
			message = refusal.Message[:min(len(refusal.Message), longestRefusal)]
		}
	}
	raw, err := json.Marshal(map[string]any{"errcode": code, "error": strings.ToValidUTF8(message, ""), "status": status})
	if err != nil {
		return jsontext.Value(`{"errcode":"M_UNKNOWN","error":"the server could not be reached"}`)
	}
	return raw
}
