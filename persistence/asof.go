package persistence

import "context"

type asOf struct{}

// AsOf says of reads under the context that they need to see everything up to the position, and not what came after it. A backend may
// answer them from a copy that is a little behind. Without it reads see everything that was acknowledged.
func AsOf(ctx context.Context, p Position) context.Context {
	return context.WithValue(ctx, asOf{}, p)
}

// AsOfPosition gives what AsOf said.
func AsOfPosition(ctx context.Context) (Position, bool) {
	p, ok := ctx.Value(asOf{}).(Position)
	return p, ok
}
