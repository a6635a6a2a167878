package cluster

import (
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// recorded is the process's tracing, which can be set once.
var recorded = sync.OnceValue(func() *tracetest.SpanRecorder {
	r := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(r)))
	return r
})

func TestAskIsASpanNamedWithoutIDs(t *testing.T) {
	recorder := recorded()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(_ Self, m Message) { m.Fail(mxerr.Forbidden("no")) }}
	}})
	_, err := n.Ask(deadline(t), room("!secret"), &messages.CreateAlias{})
	wantError(t, err, 403, "M_FORBIDDEN")
	spans := recorder.Ended()
	i := slices.IndexFunc(spans, func(s sdk.ReadOnlySpan) bool { return s.Name() == "room CreateAlias" })
	if i < 0 || len(spans[i].Attributes()) != 0 || len(spans[i].Events()) != 1 {
		t.Fatalf("spans %v", spans)
	}
}
