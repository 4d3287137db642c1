namespace Vcmm.Cpu;

/// <summary>What changes of CPU mappings have cost.</summary>
/// <param name="Shootdowns">How often every core was interrupted, detaches included.</param>
/// <param name="Ranges">How many ranges they were told to forget one by one.</param>
/// <param name="FullFlushes">How often they were told to forget an address space as a whole.</param>
/// <param name="RootLoads">How often an address space was given a table.</param>
/// <param name="EntryWrites">How many entries of CPU tables were written.</param>
public readonly record struct CpuMmuCounters(long Shootdowns, long Ranges, long FullFlushes, long RootLoads, long EntryWrites);
