"""`python -m deeprc.runtime.agent RUN_DIRECTORY NODE CORES`: how pilots start an agent."""

from deeprc.runtime.agent.agent import main

if __name__ == "__main__":
    main()
