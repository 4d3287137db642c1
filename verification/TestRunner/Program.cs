using TestRunner;

// testrunner list|measure|hunt PLAN OUT
return args is [string mode and ("list" or "measure" or "hunt"), string plan, string output]
    ? Run(mode, plan, output)
    : throw new ArgumentException("testrunner list|measure|hunt PLAN OUT");

static int Run(string mode, string plan, string output)
{
    using var told = new Told(output);
    string[] lines = File.ReadAllLines(plan);
    if (mode == "list")
    {
        foreach (string assembly in lines) ClassRunner.List(assembly, told);
        return ClassRunner.Passed;
    }

    int exit = new ClassRunner(told, stops: mode == "hunt").Run(lines.Select(Batch.Parse));
    told.Dispose();
    // A test that hangs holds a thread: nobody waits for it.
    Environment.Exit(exit);
    return exit;
}
