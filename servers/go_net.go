// Go's net: one goroutine per client, written as if it blocked.
//
// The unit of concurrency is a goroutine. It switches inside Read and Write, when they must
// wait, and wherever the runtime decides; goroutines run on all cores that the process may
// use. After the listener of https://pkg.go.dev/net#example-Listener.
package main

import (
	"log"
	"net"
	"os"
	"time"
)

func echo(client net.Conn) {
	defer client.Close()
	buffer := make([]byte, 65536)
	for {
		n, err := client.Read(buffer)
		if _, unsent := client.Write(buffer[:n]); err != nil || unsent != nil {
			return // end of stream, or this client left
		}
	}
}

func main() {
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil { // out of descriptors: let someone leave first
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go echo(client)
	}
}
