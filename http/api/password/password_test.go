package password_test

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/matrixon/matrixon/http/api/password"
)

func hasher(t *testing.T) *password.Hasher {
	t.Helper()
	h, err := password.New(password.Parameters{MemoryKiB: 64, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHashAndMatch(t *testing.T) {
	t.Parallel()
	h, ctx := hasher(t), context.Background()
	stored, err := h.Hash(ctx, "geheim ✓")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("not a PHC string: %s", stored)
	}
	again, err := h.Hash(ctx, "geheim ✓")
	if err != nil || again == stored {
		t.Errorf("two hashes of one password must differ: %v", err)
	}
	imported, err := bcrypt.GenerateFromPassword([]byte("geheim ✓"), 4)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stored, password string
		want                   bool
	}{
		{"right", stored, "geheim ✓", true},
		{"wrong", stored, "geheim", false},
		{"empty", stored, "", false},
		{"bcrypt right", string(imported), "geheim ✓", true},
		{"bcrypt wrong", string(imported), "x", false},
		{"no hash", "", "", false},
		{"no hash, some password", "", "x", false},
		{"garbage", "hello", "hello", false},
		{"other algorithm", strings.Replace(stored, "argon2id", "argon2i", 1), "geheim ✓", false},
		{"absurd cost", strings.Replace(stored, "m=64", "m=4294967295", 1), "geheim ✓", false},
		{"no cost", strings.Replace(stored, "t=1", "t=0", 1), "geheim ✓", false},
		{"tampered key", stored[:len(stored)-6] + "AAAAAA", "geheim ✓", false},
		{"too long", stored, strings.Repeat("a", password.MaxLength+1), false},
	}
	for _, tt := range tests {
		if got, err := h.Matches(ctx, tt.stored, tt.password); err != nil || got != tt.want {
			t.Errorf("%s: %v %v", tt.name, got, err)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	for _, p := range []password.Parameters{{}, {64, 0, 1}, {64, 1, 0}, {4, 1, 1}, {1 << 30, 1, 1}} {
		if _, err := password.New(p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}
