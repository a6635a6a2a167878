package access

import (
	"testing"

	"github.com/matrixon/matrixon/tests/binary"
)

func TestMain(m *testing.M) { binary.Main(m) }
