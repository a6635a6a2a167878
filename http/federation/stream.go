package federation

import (
	"bufio"
	"context"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/persistence/schema"
)

// writer writes a JSON object as it comes; after the first failure it does nothing.
type writer struct {
	e   *jsontext.Encoder
	err error
}

func (w *writer) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.e.WriteToken(t)
	}
}

// value writes a member of the object.
func (w *writer) value(name string, raw jsontext.Value) {
	w.token(jsontext.String(name))
	w.item(raw)
}

// begin begins a member that is a list of items, up to end.
func (w *writer) begin(name string) {
	w.token(jsontext.String(name))
	w.token(jsontext.BeginArray)
}

func (w *writer) item(raw jsontext.Value) {
	if w.err == nil {
		w.err = w.e.WriteValue(raw)
	}
}

func (w *writer) end() { w.token(jsontext.EndArray) }

// chain writes a list of the events of an auth chain.
func (w *writer) chain(ctx context.Context, name string, chain *reader.AuthChain, item func(*schema.Event) jsontext.Value) error {
	w.begin(name)
	for row, err := range chain.All(ctx) {
		if err != nil {
			return err
		}
		if w.item(item(&row)); w.err != nil {
			return w.err
		}
	}
	w.end()
	return w.err
}

// pduJSON and idJSON are the two forms in which events are listed.
func pduJSON(row *schema.Event) jsontext.Value { return row.JSON }
func idJSON(row *schema.Event) jsontext.Value  { return quoted(row.EventID) }

func quoted(s string) jsontext.Value { return canonicaljson.AppendString(nil, s) }

// stream answers with an object whose events are read while it is written, since rooms may be larger than memory allows.
func (d Deps) stream(r *api.Request, write func(context.Context, *writer) error) api.Stream {
	return d.streamValue(r, func(ctx context.Context, w *writer) error { return w.object(ctx, write) })
}

// streamPair is stream in the form of the first version of some endpoints: a pair of 200 and the object.
func (d Deps) streamPair(r *api.Request, write func(context.Context, *writer) error) api.Stream {
	return d.streamValue(r, func(ctx context.Context, w *writer) error {
		w.token(jsontext.BeginArray)
		w.token(jsontext.Int(http.StatusOK))
		err := w.object(ctx, write)
		w.token(jsontext.EndArray)
		return err
	})
}

func (w *writer) object(ctx context.Context, write func(context.Context, *writer) error) error {
	w.token(jsontext.BeginObject)
	err := write(ctx, w)
	w.token(jsontext.EndObject)
	return err
}

func (d Deps) streamValue(r *api.Request, write func(context.Context, *writer) error) api.Stream {
	return func(to http.ResponseWriter, q *http.Request) error {
		to.Header().Set("Content-Type", "application/json")
		out := bufio.NewWriterSize(to, 64<<10)
		w := &writer{e: jsontext.NewEncoder(out)}
		err := write(q.Context(), w)
		if err == nil {
			err = w.err
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			// The headers are out, and half an answer must not look like a whole one.
			d.Log.Warn("an answer to another server broke off", "path", q.URL.Path, "server", r.Origin, "error", err)
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}
