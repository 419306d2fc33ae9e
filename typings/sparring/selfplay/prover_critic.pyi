from selfplay.prover_critic import *
