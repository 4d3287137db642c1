using Platform;

namespace IommuSim.Machinery;

/// <summary>Reads entries of more than 64 bits as one, as hardware does.</summary>
internal static class WideEntries
{
    private const int Attempts = 8;

    /// <summary>Reads an entry of 128 bits: if software changed it between the two halves, again.</summary>
    public static bool TryRead128<TMemory>(TMemory memory, PhysAddr address, out ulong low, out ulong high)
        where TMemory : struct, IPhysicalMemory
    {
        high = 0;
        if (!memory.TryRead64(address, out low)) return false;
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            if (!memory.TryRead64(new(address.Value | 8), out high)) return false;
            if (!memory.TryRead64(address, out ulong again)) return false;
            if (again == low) return true;
            low = again;
        }

        return true;
    }

    /// <summary>
    /// Reads an entry of several 64-bit words: if software changed it in between, again. After some attempts what
    /// was read last is taken; an entry that never stands still may then be seen torn.
    /// </summary>
    public static bool TryReadWords<TMemory>(TMemory memory, PhysAddr address, Span<ulong> words)
        where TMemory : struct, IPhysicalMemory
    {
        bool isStable = false;
        for (int attempt = 0; attempt <= Attempts && !isStable; attempt++)
        {
            isStable = attempt != 0;
            for (int i = 0; i < words.Length; i++)
            {
                if (!memory.TryRead64(new(address.Value + (ulong)i * sizeof(ulong)), out ulong word)) return false;
                isStable &= word == words[i];
                words[i] = word;
            }
        }

        return true;
    }
}
