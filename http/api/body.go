package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// maxDepth bounds how deeply JSON may be nested.
const maxDepth = 100

// bodyAtOnce is for how many bytes of a body there is room before they have come.
const bodyAtOnce = 128 << 10

// Body reads the whole body, once; later calls give the same bytes. Beyond the endpoint's bound it is 413 M_TOO_LARGE.
func (r *Request) Body() ([]byte, error) {
	if r.bodyRead {
		return r.body, nil
	}
	if r.HTTP.Body == nil || r.HTTP.Body == http.NoBody {
		r.bodyRead = true
		return nil, nil
	}
	limit := r.maxBody()
	if r.HTTP.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	// A body that says how long it is gets so much memory at once, within reason: it may not come.
	var whole bytes.Buffer
	whole.Grow(int(min(max(r.HTTP.ContentLength, 0), bodyAtOnce)) + bytes.MinRead)
	if _, err := whole.ReadFrom(io.LimitReader(r.HTTP.Body, limit+1)); err != nil {
		return nil, unread(err)
	}
	raw := whole.Bytes()
	if int64(len(raw)) > limit {
		return nil, tooLarge(limit)
	}
	r.bodyEnded()
	r.body, r.bodyRead = raw, true
	return raw, nil
}

// Stream reads a large body piece by piece, up to the endpoint's bound; a client that stalls is cut off.
func (r *Request) Stream() io.Reader {
	return &streamed{r: r, left: r.maxBody()}
}

type streamed struct {
	r    *Request
	left int64
}

func (s *streamed) Read(p []byte) (int, error) {
	if s.left < 0 {
		return 0, tooLarge(s.r.maxBody())
	}
	_ = s.r.control.SetReadDeadline(time.Now().Add(s.r.api.options.BodyTimeout))
	if int64(len(p)) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.r.HTTP.Body.Read(p)
	s.left -= int64(n)
	switch {
	case s.left < 0:
		return 0, tooLarge(s.r.maxBody())
	case errors.Is(err, io.EOF):
		s.r.bodyEnded()
	case err != nil:
		err = unread(err)
	}
	return n, err
}

// bodyEnded lifts the deadline that stands since the request came; see service.ServeHTTP.
func (r *Request) bodyEnded() { _ = r.control.SetReadDeadline(time.Time{}) }

func (r *Request) maxBody() int64 {
	if r.endpoint.MaxBody > 0 {
		return r.endpoint.MaxBody
	}
	if m := r.api.options.MaxBody; m > 0 {
		return m
	}
	return DefaultMaxBody
}

func tooLarge(limit int64) error {
	return mxerr.TooLarge("the request's body is larger than %d bytes", limit)
}

func unread(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return mxerr.New(http.StatusRequestTimeout, "M_UNKNOWN", "the request's body came too slowly")
	}
	return mxerr.NotJSON("the request's body broke off")
}

// Decode reads the body, which must be a JSON object, into v, a pointer to a struct. A body that is no JSON gives
// 400 M_NOT_JSON; one with duplicate members, with more than 100 levels, or with a member of the wrong type, 400 M_BAD_JSON.
func (r *Request) Decode(v any) error {
	raw, err := r.Body()
	if err != nil {
		return err
	}
	return DecodeObject(raw, v)
}

// DecodeOptional is Decode, but no body at all counts as the empty object.
func (r *Request) DecodeOptional(v any) error {
	raw, err := r.Body()
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return err
	}
	return DecodeObject(raw, v)
}

// Object reads the body as a JSON object that is kept as it is, checked as by Decode.
func (r *Request) Object() (jsontext.Value, error) {
	raw, err := r.Body()
	if err != nil {
		return nil, err
	}
	return raw, CheckObject(raw)
}

// CheckObject refuses what is not strictly a JSON object: valid UTF-8, no duplicate members, bounded depth.
func CheckObject(raw []byte) error {
	if tooDeep(raw) {
		return mxerr.BadJSON("the JSON is nested more deeply than %d levels", maxDepth)
	}
	v := jsontext.Value(raw)
	if v.IsValid() {
		if v.Kind() != '{' {
			return mxerr.BadJSON("the request's body must be a JSON object")
		}
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		if _, err := d.ReadToken(); err != nil {
			return jsonError(err)
		}
		if d.StackDepth() == 0 {
			return mxerr.NotJSON("something follows the JSON object in the request's body")
		}
	}
}

// DecodeObject decodes a JSON object strictly, as Request.Decode does with the body.
func DecodeObject(raw []byte, v any) error {
	if tooDeep(raw) {
		return mxerr.BadJSON("the JSON is nested more deeply than %d levels", maxDepth)
	}
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] != '{' && jsontext.Value(raw).IsValid() {
		return mxerr.BadJSON("the request's body must be a JSON object")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return jsonError(err)
	}
	return nil
}

// tooDeep counts brackets outside of strings.
func tooDeep(raw []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// jsonError says what is wrong with the JSON, in terms of its members.
func jsonError(err error) error {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		return mxerr.BadJSON("%s must be %s", member(semantic.JSONPointer), wanted(semantic.GoType))
	case errors.Is(err, jsontext.ErrDuplicateName):
		if errors.As(err, &syntactic) {
			return mxerr.BadJSON("%s stands twice in the JSON", member(syntactic.JSONPointer))
		}
		return mxerr.BadJSON("a member stands twice in the JSON")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return mxerr.NotJSON("the request's body must be a JSON object; it is empty or breaks off")
	case errors.As(err, &syntactic):
		return mxerr.NotJSON("the request's body is not valid JSON at byte %d", syntactic.ByteOffset)
	}
	return mxerr.NotJSON("the request's body is not valid JSON")
}

func member(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "the request's body"
	}
	return "the member " + printable(strings.Join(names, "."))
}

func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "of another type"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "of another type"
}
