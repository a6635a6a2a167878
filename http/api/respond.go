package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// marshal writes JSON as answers have it: maps in a fixed order, nil slices as [].
func marshal(v any) ([]byte, error) {
	return json.Marshal(v, json.Deterministic(true))
}

// write sends an answer of a Handler. An error comes only before anything was written.
func write(w http.ResponseWriter, r *http.Request, answer any) error {
	status := http.StatusOK
	switch a := answer.(type) {
	case Stream:
		return a(w, r)
	case Answer:
		for name, values := range a.Header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		if a.Status != 0 {
			status = a.Status
		}
		answer = a.Body
	}
	raw, err := encode(answer)
	if err != nil {
		return err
	}
	writeJSON(w, status, raw)
	return nil
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return []byte("{}"), nil
	case jsontext.Value:
		return b, nil
	default:
		raw, err := marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode answer %T: %w", body, err)
		}
		return raw, nil
	}
}

func writeJSON(w http.ResponseWriter, status int, raw []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if len(raw) < 1400 {
		h.Set("Content-Length", strconv.Itoa(len(raw)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client is gone when this fails; there is nobody to tell
}
