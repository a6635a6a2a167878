package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	// rendezvousLife is how long two devices have, from the first write.
	rendezvousLife = 5 * time.Minute
	// maxRendezvous bounds a payload, in bytes.
	maxRendezvous = 4096
	// keptRevisions is how many payloads of a session are stored: the old ones so that a late writer is seen to be late.
	keptRevisions = 8
	// allRendezvous is the kind of limit on how many sessions may begin on this node, whoever begins them; so what all of them store is bounded.
	allRendezvous api.Limit = "rendezvous"
)

// RendezvousOptions are what the endpoints of rendezvous sessions need besides Deps.
type RendezvousOptions struct {
	Store persistence.Store
	// Everybody may begin a session, and not only users.
	Everybody bool
	// URL is the full address of a path of this server.
	URL func(path string) string
}

// rendezvous lets two devices meet, of which one may not be signed in yet: a place with one payload, which both read and write.
type rendezvous struct {
	Deps
	o     RendezvousOptions
	begun *api.Limits
}

// Rendezvous are the endpoints of rendezvous sessions: those of MSC4388, with JSON, and those that MSC4108 had in 2024, with ETags, which clients
// use still. close ends what runs beside them.
func Rendezvous(d Deps, o RendezvousOptions) (endpoints []api.Endpoint, closing func()) {
	z := &rendezvous{Deps: d, o: o, begun: api.NewLimits(map[api.Limit]api.Rate{allRendezvous: {PerSecond: 10, Burst: 100}}, d.Now)}
	const path, before = "/_matrix/client/unstable/io.element.msc4388/rendezvous", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
	const body = 6*maxRendezvous + 1024 // JSON may escape every byte
	return []api.Endpoint{
		{Methods: get, Path: path, Auth: api.Optional, Limit: api.LimitRead, Handler: z.discover},
		{Methods: post, Path: path, Auth: api.Optional, Limit: api.LimitLogin, MaxBody: body, WhileSuspended: true, Handler: z.begin},
		{Methods: get, Path: path + "/{rendezvousId}", Limit: api.LimitRead, Handler: z.receive},
		{Methods: put, Path: path + "/{rendezvousId}", Limit: api.LimitRead, MaxBody: body, Handler: z.send},
		{Methods: remove, Path: path + "/{rendezvousId}", Limit: api.LimitRead, Handler: z.end},
		{Methods: post, Path: before, Auth: api.Optional, Limit: api.LimitLogin, MaxBody: maxRendezvous, WhileSuspended: true, Handler: z.beginText},
		{Methods: get, Path: before + "/{rendezvousId}", Limit: api.LimitRead, Handler: z.receiveText},
		{Methods: put, Path: before + "/{rendezvousId}", Limit: api.LimitRead, MaxBody: maxRendezvous, Handler: z.sendText},
		{Methods: remove, Path: before + "/{rendezvousId}", Limit: api.LimitRead, Handler: z.endText},
	}, z.begun.Close
}

// revisionToken names what is in a session now. It changes with every write, even of the same.
func revisionToken(row schema.Rendezvous) string {
	h := sha256.New()
	h.Write([]byte(row.ID + "\x00"))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], row.Revision)
	h.Write(n[:])
	h.Write(row.Data)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

func (z *rendezvous) may(r *api.Request) bool { return z.o.Everybody || r.Session != nil }

func (z *rendezvous) discover(r *api.Request) (any, error) {
	return map[string]bool{"create_available": z.may(r)}, nil
}

// open begins a session with its first payload.
func (z *rendezvous) open(r *api.Request, data []byte, mediaType string) (schema.Rendezvous, error) {
	if !z.may(r) {
		return schema.Rendezvous{}, mxerr.Forbidden("only users of this server may begin a rendezvous session")
	}
	if err := z.begun.Take(r.Ctx, allRendezvous, "", 1); err != nil {
		return schema.Rendezvous{}, err
	}
	row := schema.Rendezvous{ID: rand.Text(), Revision: 1, Data: data, MediaType: mediaType, WrittenTS: r.Now.UnixMilli(), ExpiresTS: r.Now.Add(rendezvousLife).UnixMilli()}
	_, err := z.write(r.Ctx, row)
	return row, err
}

// current gives what is in a session; 404 M_NOT_FOUND when it has ended.
func (z *rendezvous) current(r *api.Request) (schema.Rendezvous, error) {
	rows, err := schema.RendezvousRows.All(r.Ctx, z.Store, persistence.Range[schema.Rendezvous]{
		Prefix: schema.Rendezvous{ID: r.Vars["rendezvousId"]}, Keys: 1, Reverse: true, Limit: 1})
	if err != nil {
		return schema.Rendezvous{}, err
	}
	if len(rows) == 0 || rows[0].Data == nil || r.Now.UnixMilli() >= rows[0].ExpiresTS {
		return schema.Rendezvous{}, mxerr.NotFound("there is no such rendezvous session, or no longer")
	}
	return rows[0], nil
}

// write adds a revision; ok is false when another was quicker.
func (z *rendezvous) write(ctx context.Context, row schema.Rendezvous) (ok bool, err error) {
	put := schema.RendezvousRows.Put(row)
	c := &persistence.Commit{Write: []persistence.Mutation{put}, Absent: []persistence.Mutation{put}}
	if row.Revision > keptRevisions {
		c.Write = append(c.Write, schema.RendezvousRows.Delete(schema.Rendezvous{ID: row.ID, Revision: row.Revision - keptRevisions}))
	}
	_, err = persistence.Await(ctx, z.o.Store, c)
	switch {
	case errors.Is(err, persistence.ErrExists):
		return false, nil
	case errors.Is(err, persistence.ErrOverloaded):
		return false, mxerr.LimitExceeded(1000)
	}
	return err == nil, err
}

// replace writes a payload after the one that the client has seen; ok is false when that is not the current one.
func (z *rendezvous) replace(r *api.Request, seen string, data []byte, mediaType string) (row schema.Rendezvous, ok bool, err error) {
	if row, err = z.current(r); err != nil || revisionToken(row) != seen {
		return row, false, err
	}
	next := row
	next.Revision, next.Data, next.MediaType, next.WrittenTS = row.Revision+1, data, mediaType, r.Now.UnixMilli()
	if ok, err = z.write(r.Ctx, next); ok {
		row = next
	}
	return row, ok, err
}

// finish ends a session, whatever is written to it meanwhile.
func (z *rendezvous) finish(r *api.Request) error {
	for {
		row, err := z.current(r)
		if err != nil {
			return err
		}
		row.Revision, row.Data = row.Revision+1, nil
		if ok, err := z.write(r.Ctx, row); err != nil || ok {
			return err
		}
	}
}

// payload is the body of MSC4388.
type payload struct {
	Data  *string `json:"data"`
	Token string  `json:"sequence_token"`
}

func readPayload(r *api.Request) (payload, error) {
	var p payload
	if err := r.Decode(&p); err != nil {
		return p, err
	}
	switch {
	case p.Data == nil:
		return p, mxerr.MissingParam("data is required")
	case len(*p.Data) > maxRendezvous:
		return p, mxerr.TooLarge("data is longer than %d bytes", maxRendezvous)
	}
	return p, nil
}

func (z *rendezvous) begin(r *api.Request) (any, error) {
	p, err := readPayload(r)
	if err != nil {
		return nil, err
	}
	row, err := z.open(r, []byte(*p.Data), "")
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": row.ID, "sequence_token": revisionToken(row), "expires_in_ms": left(r, row)}, nil
}

func left(r *api.Request, row schema.Rendezvous) int64 { return row.ExpiresTS - r.Now.UnixMilli() }

func (z *rendezvous) receive(r *api.Request) (any, error) {
	if err := noPage(r); err != nil {
		return nil, err
	}
	row, err := z.current(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"data": string(row.Data), "sequence_token": revisionToken(row), "expires_in_ms": left(r, row)}, nil
}

// noPage refuses browsers that would show the payload: it is whatever a stranger wrote.
func noPage(r *api.Request) error {
	if mode := r.HTTP.Header.Get("Sec-Fetch-Mode"); mode == "navigate" || mode == "nested-navigate" {
		return mxerr.Forbidden("this is not for people to look at")
	}
	return nil
}

func (z *rendezvous) send(r *api.Request) (any, error) {
	p, err := readPayload(r)
	if err != nil {
		return nil, err
	}
	if p.Token == "" {
		return nil, mxerr.MissingParam("sequence_token is required")
	}
	row, ok, err := z.replace(r, p.Token, []byte(*p.Data), "")
	if err != nil {
		return nil, err
	}
	if !ok && string(row.Data) != *p.Data { // the same again is a repeated request whose answer was lost
		return nil, mxerr.New(http.StatusConflict, "M_CONCURRENT_WRITE", "something else has been written to the session since")
	}
	return map[string]any{"sequence_token": revisionToken(row)}, nil
}

func (z *rendezvous) end(r *api.Request) (any, error) { return nil, z.finish(r) }

// The endpoints of 2024 speak in plain text and headers.

// text reads a payload.
func text(r *api.Request) ([]byte, string, error) {
	kind := r.HTTP.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "text/plain" {
		return nil, "", mxerr.InvalidParam("the payload must be text/plain")
	}
	data, err := r.Body()
	if err == nil && len(data) == 0 {
		data = []byte{}
	}
	return data, kind, err
}

// state gives the headers that tell which payload is there.
func state(row schema.Rendezvous) http.Header {
	h := http.Header{}
	h.Set("ETag", `"`+revisionToken(row)+`"`)
	h.Set("Expires", time.UnixMilli(row.ExpiresTS).UTC().Format(http.TimeFormat))
	h.Set("Last-Modified", time.UnixMilli(row.WrittenTS).UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", "no-store")
	return h
}

// seenTag is the payload that a header names.
func seenTag(header string) string { return strings.Trim(strings.TrimPrefix(header, "W/"), `"`) }

func (z *rendezvous) beginText(r *api.Request) (any, error) {
	data, kind, err := text(r)
	if err != nil {
		return nil, err
	}
	row, err := z.open(r, data, kind)
	if err != nil {
		return nil, err
	}
	return api.Answer{Status: http.StatusCreated, Header: state(row), Body: map[string]string{"url": z.o.URL(r.HTTP.URL.EscapedPath() + "/" + row.ID)}}, nil
}

func (z *rendezvous) receiveText(r *api.Request) (any, error) {
	if err := noPage(r); err != nil {
		return nil, err
	}
	row, err := z.current(r)
	if err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		for name, values := range state(row) {
			w.Header()[name] = values
		}
		if seenTag(r.HTTP.Header.Get("If-None-Match")) == revisionToken(row) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(row.Data) // the client is gone when this fails
		return nil
	}), nil
}

func (z *rendezvous) sendText(r *api.Request) (any, error) {
	seen := r.HTTP.Header.Get("If-Match")
	if seen == "" {
		return nil, mxerr.MissingParam("the header If-Match is required")
	}
	data, kind, err := text(r)
	if err != nil {
		return nil, err
	}
	row, ok, err := z.replace(r, seenTag(seen), data, kind)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.New(http.StatusPreconditionFailed, "M_UNKNOWN", "something else has been written to the session since").
			With("org.matrix.msc4108.errcode", "M_CONCURRENT_WRITE")
	}
	return api.Answer{Status: http.StatusAccepted, Header: state(row)}, nil
}

func (z *rendezvous) endText(r *api.Request) (any, error) {
	if err := z.finish(r); err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}), nil
}
