package cluster

import (
	"context"
	"reflect"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

var tracer = otel.Tracer("github.com/matrixon/matrixon/cluster")

// trace begins the span of an Ask, named after the kind and the request; no id appears in it.
func (k *kind) trace(ctx context.Context, request proto.Message) (context.Context, func(error)) {
	ctx, span := tracer.Start(ctx, k.span(reflect.TypeOf(request)), trace.WithSpanKind(trace.SpanKindClient))
	return ctx, func(err error) {
		if err != nil && span.IsRecording() {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func (k *kind) span(request reflect.Type) string {
	if name, ok := k.spans.Load(request); ok {
		return name.(string)
	}
	name := k.Name + " " + messageName(request)
	k.spans.Store(request, name)
	return name
}

// messageName is the bare name of a message's type, such as SendEvent.
func messageName(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" {
		return t.String()
	}
	return t.Name()
}
