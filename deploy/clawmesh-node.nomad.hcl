# Nomad job of a ClawMesh node on every machine of the class "field"; docs/deploy.md says what has to be there.
job "clawmesh-node" {
  type = "system"

  constraint {
    attribute = "${node.class}"
    value     = "field"
  }

  group "node" {
    # A node that ends is started again for ever: its start makes safe what was left moving.
    restart {
      mode     = "delay"
      attempts = 10
      interval = "1m"
      delay    = "5s"
    }

    task "node" {
      driver = "exec"
      user   = "clawmesh"

      # Actuators may need up to 75 s on their way to the safe state.
      kill_signal  = "SIGTERM"
      kill_timeout = "100s"

      config {
        command = "/usr/bin/clawmesh-node"
        args    = ["start", "--state-dir", "/var/lib/clawmesh"]
      }

      # The state directory outlives the allocation: a host volume with this name on each client.
      volume_mount {
        volume      = "clawmesh"
        destination = "/var/lib/clawmesh"
      }

      # How far the node has come, beside its state, so that a restored copy is known as one.
      volume_mount {
        volume      = "clawmesh-marks"
        destination = "/var/lib/clawmesh-marks"
      }
      env {
        CLAWMESH_MARKS_DIR = "/var/lib/clawmesh-marks"
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }

    volume "clawmesh" {
      type   = "host"
      source = "clawmesh"
    }

    volume "clawmesh-marks" {
      type   = "host"
      source = "clawmesh-marks"
    }
  }
}
