package cluster

import (
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// CodeRetry is the code of a failure that says: not done, ask again. It never reaches a client: Ask retries
// until its deadline. A behaviour that is stopping refuses with it what it has not begun.
const CodeRetry = "ORG.MATRIXON.RETRY"

// Retry is the error for a request that was not carried out and may be asked again, of the next activation.
func Retry() *mxerr.Error {
	return mxerr.New(http.StatusServiceUnavailable, CodeRetry, "the actor is stopping")
}

// FailureOf is the failure that carries the error; one that is not an *mxerr.Error becomes a 500 without its cause.
func FailureOf(err error) *messages.Failure {
	e := mxerr.From(err)
	f := &messages.Failure{Status: int32(e.Status), Code: e.Code, Message: e.Message}
	if len(e.Fields) == 0 {
		return f
	}
	fields, err := json.Marshal(e.Fields, json.Deterministic(true))
	if err != nil {
		return FailureOf(mxerr.From(err))
	}
	f.Fields = fields
	return f
}

// ErrorOf is the inverse of FailureOf. Whole numbers among the fields are int64; objects, arrays and
// other numbers stay raw JSON.
func ErrorOf(f *messages.Failure) *mxerr.Error {
	e := &mxerr.Error{Status: int(f.Status), Code: f.Code, Message: f.Message}
	if len(f.Fields) == 0 {
		return e
	}
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(f.Fields, &raw); err != nil {
		return mxerr.From(err)
	}
	e.Fields = make(map[string]any, len(raw))
	for name, value := range raw {
		e.Fields[name] = fieldValue(value)
	}
	return e
}

func fieldValue(raw jsontext.Value) any {
	switch raw.Kind() {
	case 't', 'f':
		return raw.Kind() == 't'
	case 'n':
		return nil
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case '0':
		var n int64
		if json.Unmarshal(raw, &n) == nil {
			return n
		}
	}
	return raw
}

// unexpectedAnswer says that an actor broke its contract; that is a defect of this program, not of the caller.
func unexpectedAnswer(to Identity, request, answer proto.Message) error {
	return mxerr.Unknown("%s answered %T with %T", to.Kind, request, answer)
}
