"""`python -m benchmark`; spawned processes import this file too, so it imports nothing itself."""

if __name__ == "__main__":
    from benchmark.main import main

    main()
