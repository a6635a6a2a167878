package line

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// owns reports whether the process has the socket with this IPv4 address, as /proc tells it.
func owns(pid int, address net.Addr) (bool, error) {
	a, ok := address.(*net.TCPAddr)
	if !ok || a.IP.To4() == nil {
		return false, fmt.Errorf("%v is no IPv4 address of TCP", address)
	}
	ip := a.IP.To4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port)
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return false, err
	}
	defer table.Close()
	socket := ""
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 9 && f[1] == local {
			socket = "socket:[" + f[9] + "]"
		}
	}
	if err := lines.Err(); err != nil || socket == "" {
		return false, err // it has been closed
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false, err
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && to == socket {
			return true, nil
		}
	}
	return false, nil
}
