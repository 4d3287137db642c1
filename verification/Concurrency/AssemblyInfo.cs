// A schedule has the process for itself. Mutation leaves these tests out: it would put its own assemblies over the rewritten ones.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: AssemblyTrait("Category", "Schedules")]
