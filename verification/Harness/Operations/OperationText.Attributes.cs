using Vcmm.Spec;

namespace Harness.Operations;

// What a reservation grants, and how it uses caches: rw supervisor not-cached.
public static partial class OperationText
{
    /// <summary>The permissions, and what is not the default.</summary>
    internal static string Write(Attributes attributes) =>
        $"{Write(attributes.Permissions)}{(attributes.SupervisorOnly ? " supervisor" : "")}{(attributes.Secure ? " secure" : "")}{(attributes.Cache == default ? "" : $" {Write(attributes.Cache)}")}";

    private static string Write(CachePolicy policy) => policy switch
    {
        CachePolicy.WriteBackNoWriteAllocate => "no-write-allocate",
        CachePolicy.WriteThrough => "write-through",
        CachePolicy.NotCached => "not-cached",
        _ => "write-allocate",
    };

    private static Attributes TakeAttributes(Words words) => new(words.TakePermissions(), words.TryTake("supervisor"), words.TryTake("secure"), TakeCache(words));

    private static CachePolicy TakeCache(Words words)
    {
        foreach (CachePolicy policy in Enum.GetValues<CachePolicy>())
        {
            if (policy != default && words.TryTake(Write(policy))) return policy;
        }

        return default;
    }
}
